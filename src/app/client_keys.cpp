// sign, verify, encrypt, decrypt, rewrap and public-keys.
#include <ostream>

#include <fmt/format.h>

#include "app/client_session.h"
#include "app/input.h"
#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

namespace json = boost::json;

// The service takes less; it says how much.
constexpr std::size_t input_bytes_max = 16 << 20;

Got<WipedString> input(const ClientSession& session, const std::string& file) {
  auto text = read_input(file, session.world, input_bytes_max);
  if (text) return *std::move(text);
  return std::unexpected(complain(session.world, text.error().message, ExitCode::usage));
}

// `{"payload":"…"` without the closing brace.
WipedString body_with_bytes(std::string_view member, std::string_view bytes) {
  WipedString body;
  body.reserve(bytes.size() / 3 * 4 + 4096);
  body.append("{\"").append(member).append("\":\"");
  base64_append(as_bytes(bytes), body);
  return body.append("\"");
}

// `,"context":{…}` when there is one, and the closing brace.
Got<WipedString> with_context(const ClientSession& session, WipedString body) {
  const auto& context = session.line.context;
  for (const auto& [name, value] : context) {
    if (is_valid_utf8(name) && is_valid_utf8(value)) continue;
    return std::unexpected(
        complain(session.world, "--context: valid UTF-8 is expected", ExitCode::usage));
  }
  if (!context.empty()) body.append(",\"context\":").append(canonical_json(context));
  body += '}';
  return body;
}

// The base64 member of an answer.
Got<WipedBytes> bytes_of(const ClientSession& session, const json::object& answer,
                         std::string_view name) {
  const auto* value = answer.if_contains(name);
  if (value != nullptr && value->is_string()) {
    if (auto bytes = base64_decode(value->get_string())) return *std::move(bytes);
  }
  return std::unexpected(complain(session.world,
                                  fmt::format("the service answered without '{}'", name),
                                  ExitCode::unreachable));
}

Got<ExitCode> sign(const ClientSession& session) {
  const auto path = TRY(session.tenant_path("/sign"));
  auto body = body_with_bytes("payload", TRY(input(session, session.line.file))).append("}");
  const auto answer = TRY(session.ask("POST", path, std::move(body)));
  if (session.line.json) return session.print(answer);
  const auto object = TRY(session.object(answer));
  const auto signature = TRY(bytes_of(session, object, "signature"));
  if (session.line.raw) {
    session.world.out << as_text(signature);
  } else {
    session.world.out << base64_encode(signature) << '\n';
  }
  return ExitCode::ok;
}

// Base64 as given, or of a file that holds base64 or the 64 bytes themselves.
Got<std::string> signature_of(const ClientSession& session) {
  const auto& given = session.line.signature;
  std::string text = given;
  if (given.starts_with('@')) {
    const auto content = TRY(input(session, given.substr(1)));
    if (content.size() == 64) return base64_encode(as_bytes(content));
    text = trimmed(content);
  }
  if (base64_decode(text)) return text;
  return std::unexpected(complain(
      session.world,
      fmt::format("--signature {}: base64 is expected{}", given.starts_with('@') ? given : "",
                  given.starts_with('@') ? ", or 64 bytes" : ""),
      ExitCode::usage));
}

// A service that does not say is believed unless the key is revoked.
bool is_trusted(const json::object& verification) {
  if (verification.contains("trusted")) return flag_of(verification, "trusted");
  return text_of(verification, "keyStatus") != "REVOKED";
}

// Of a valid signature.
std::string verdict(const json::object& verification, bool trusted) {
  const auto status = text_of(verification, "keyStatus");
  const auto key = fmt::format("key {}, version {}", text_of(verification, "keyId"),
                               text_of(verification, "version"));
  if (trusted) {
    return fmt::format("valid ({}{})", key,
                       status.empty() || status == "ACTIVE" ? "" : ", " + status);
  }
  const auto since = text_of(verification, "revokedAt");
  const auto reason = text_of(verification, "revocationReason");
  return fmt::format("valid, but NOT TRUSTED: the key is {}{}{} ({})", status,
                     since.empty() ? "" : " since " + since, reason.empty() ? "" : ": " + reason,
                     key);
}

Got<ExitCode> verify(const ClientSession& session) {
  const auto& line = session.line;
  const auto path = TRY(session.tenant_path("/verify"));
  if (line.file == "-" && line.signature == "@-") {
    return std::unexpected(complain(
        session.world, "payload and signature cannot both be standard input", ExitCode::usage));
  }
  const auto signature = TRY(signature_of(session));
  auto body = body_with_bytes("payload", TRY(input(session, line.file)));
  body.append(",\"signature\":\"").append(signature).append("\"");
  if (!line.key_id.empty()) {
    const auto key = KeyId::parse(line.key_id);
    if (!key) return std::unexpected(complain(session.world, key.error().message, ExitCode::usage));
    body.append(",\"keyId\":\"").append(key->str()).append("\"");
  }
  if (line.version) body.append(fmt::format(",\"version\":{}", *line.version));
  const auto answer = TRY(session.ask("POST", path, body.append("}")));
  const auto object = TRY(session.object(answer));
  const bool valid = flag_of(object, "valid");
  const auto trust = is_trusted(object);
  if (line.json) {
    session.print(answer);
  } else {
    session.world.out << (valid ? verdict(object, trust) : "invalid") << '\n';
  }
  return valid && trust ? ExitCode::ok : ExitCode::check_failed;
}

Got<ExitCode> encrypt(const ClientSession& session) {
  const auto path = TRY(session.tenant_path("/encrypt"));
  auto body = TRY(
      with_context(session, body_with_bytes("plaintext", TRY(input(session, session.line.file)))));
  const auto answer = TRY(session.ask("POST", path, std::move(body)));
  if (session.line.json) return session.print(answer);
  const auto object = TRY(session.object(answer));
  session.world.out << text_of(object, "ciphertext") << '\n';
  return ExitCode::ok;
}

// To `verb`, which takes a ciphertext and its context.
Got<HttpAnswer> send_ciphertext(const ClientSession& session, std::string verb) {
  if (session.line.allow_revoked) verb += "?allow_revoked=true";
  const auto path = TRY(session.tenant_path(verb));
  const auto content = TRY(input(session, session.line.file));
  const auto ciphertext = trimmed(content);
  if (!is_valid_utf8(ciphertext) || !ciphertext.starts_with("betrace:")) {
    return std::unexpected(complain(
        session.world, "a ciphertext that begins with betrace:v1: is expected", ExitCode::usage));
  }
  std::string member = "{\"ciphertext\":";
  append_json_string(ciphertext, member);
  auto body = TRY(with_context(session, WipedString(member)));
  return session.ask("POST", path, std::move(body));
}

Got<ExitCode> rewrap(const ClientSession& session) {
  const auto answer = TRY(send_ciphertext(session, "/rewrap"));
  if (session.line.json) return session.print(answer);
  const auto object = TRY(session.object(answer));
  session.world.out << text_of(object, "ciphertext") << '\n';
  return ExitCode::ok;
}

Got<ExitCode> decrypt(const ClientSession& session) {
  const auto answer = TRY(send_ciphertext(session, "/decrypt"));
  if (session.line.json) return session.print(answer);
  const auto object = TRY(session.object(answer));
  const auto plaintext = TRY(bytes_of(session, object, "plaintext"));
  if (session.line.base64) {
    session.world.out << base64_encode(plaintext) << '\n';
  } else {
    session.world.out << as_text(plaintext);
  }
  return ExitCode::ok;
}

Got<ExitCode> public_keys(const ClientSession& session) {
  const auto& line = session.line;
  std::string path = "/api/public-keys";
  if (!line.tenant.empty()) {
    path = TRY(session.tenant_path(line.jwks ? "/jwks.json" : "/public-keys"));
  } else if (line.jwks) {
    return std::unexpected(complain(session.world, "--jwks needs --tenant", ExitCode::usage));
  }
  const auto answer = TRY(session.ask("GET", path));
  if (line.json || line.jwks) return session.print(answer);
  const auto object = TRY(session.object(answer));
  const auto* keys = object.if_contains("keys");
  if (keys == nullptr || !keys->is_array()) return ExitCode::ok;
  for (const auto& each : keys->get_array()) {
    const auto* key = each.if_object();
    if (key == nullptr) continue;
    if (line.pem) {
      if (const auto* pem = key->if_contains("publicKeyPem"); pem != nullptr && pem->is_string()) {
        const std::string_view text = pem->get_string();
        session.world.out << text << (text.ends_with('\n') ? "" : "\n");
      }
    } else {
      session.world.out << fmt::format("{}  {:<10} {}  {}\n", text_of(*key, "keyId"),
                                       text_of(*key, "status"), text_of(*key, "createdAt"),
                                       text_of(*key, "publicKey"));
    }
  }
  return ExitCode::ok;
}

}  // namespace

Got<ExitCode> run_key_command(const ClientSession& session) {
  const auto& command = session.line.command;
  if (command == "sign") return sign(session);
  if (command == "verify") return verify(session);
  if (command == "encrypt") return encrypt(session);
  if (command == "decrypt") return decrypt(session);
  return command == "rewrap" ? rewrap(session) : public_keys(session);
}

}  // namespace betrace::kms
