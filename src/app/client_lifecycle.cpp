// revoke, keys list, keys destroy and tenants destroy.
#include <cerrno>
#include <fstream>
#include <ostream>
#include <system_error>

#include <fmt/format.h>

#include "app/client_session.h"
#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

namespace json = boost::json;

std::unexpected<ExitCode> mistake(const ClientSession& session, std::string_view message) {
  return std::unexpected(complain(session.world, message, ExitCode::usage));
}

// The id of the version that the tenant has under this type and number.
Got<std::string> find_key(const ClientSession& session) {
  const auto& line = session.line;
  const auto answer = TRY(session.ask("GET", TRY(session.tenant_path(""))));
  const auto tenant = TRY(session.object(answer));
  const auto* keys = tenant.if_contains("keys");
  if (keys != nullptr && keys->is_array()) {
    for (const auto& each : keys->get_array()) {
      const auto* key = each.if_object();
      if (key != nullptr && text_of(*key, "keyType") == line.key_type &&
          number_of(*key, "version") == *line.version) {
        return text_of(*key, "keyId");
      }
    }
  }
  return std::unexpected(complain(session.world,
                                  fmt::format("tenant '{}' has no {} key of version {}",
                                              line.tenant, line.key_type, *line.version),
                                  ExitCode::check_failed));
}

// "/api/tenants/ID/keys/ID" of the key that --key-id, or --type and --version name.
Got<std::string> key_path(const ClientSession& session) {
  const auto& line = session.line;
  auto id = line.key_id;
  if (id.empty()) {
    if (!line.version || line.key_type.empty()) {
      return mistake(session, "which key? Give --key-id, or --version and --type");
    }
    id = TRY(find_key(session));
  }
  const auto key = KeyId::parse(id);
  if (!key) return mistake(session, key.error().message);
  return session.tenant_path("/keys/" + key->str());
}

std::string named(const json::object& key) {
  return fmt::format("{} version {} ({})", text_of(key, "keyType"), text_of(key, "version"),
                     text_of(key, "keyId"));
}

Got<ExitCode> revoke(const ClientSession& session) {
  if (!is_valid_utf8(session.line.reason)) {
    return mistake(session, "--reason: valid UTF-8 is expected");
  }
  const auto path = TRY(key_path(session)) + "/revoke";
  std::string body = "{\"reason\":";
  append_json_string(session.line.reason, body);
  const auto answer = TRY(session.ask("POST", path, WipedString(body + "}")));
  if (session.line.json) return session.print(answer);
  const auto object = TRY(session.object(answer));
  const auto* revoked = object.if_contains("revoked");
  if (revoked != nullptr && revoked->is_object()) {
    session.world.out << "revoked    " << named(revoked->get_object()) << '\n';
  }
  const auto* successor = object.if_contains("successor");
  if (successor != nullptr && successor->is_object()) {
    session.world.out << "successor  " << named(successor->get_object()) << '\n';
  }
  return ExitCode::ok;
}

Got<ExitCode> list_keys(const ClientSession& session) {
  const auto answer = TRY(session.ask("GET", TRY(session.tenant_path(""))));
  if (session.line.json) return session.print(answer);
  print_keys(session.world, TRY(session.object(answer)));
  return ExitCode::ok;
}

Got<ExitCode> destroy_key(const ClientSession& session) {
  const auto& line = session.line;
  if (!line.yes) {
    return mistake(
        session, "what only this key opens is lost with it; give --yes to destroy it all the same");
  }
  auto path = TRY(key_path(session));
  if (line.unused) path += "?unused=true";
  const auto answer = TRY(session.ask("DELETE", path));
  if (line.json) return session.print(answer);
  session.world.out << "destroyed  " << named(TRY(session.object(answer))) << '\n';
  return ExitCode::ok;
}

// Opened before anything is destroyed, and not emptied before there is something to write.
Got<std::ofstream> open_certificate(const ClientSession& session) {
  const auto& file = session.line.certificate;
  std::ofstream out(file, std::ios::binary | std::ios::app);
  if (out) return out;
  return mistake(session,
                 fmt::format("cannot write {}: {}", file, std::generic_category().message(errno)));
}

Got<ExitCode> write_certificate(const ClientSession& session, const json::object& destruction) {
  const auto& file = session.line.certificate;
  const auto* certificate = destruction.if_contains("certificate");
  if (certificate == nullptr || !certificate->is_object()) {
    return complain(session.world,
                    "destroyed, but the certificate is not signed yet; give the same command again",
                    ExitCode::check_failed);
  }
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out << json::serialize(*certificate) << '\n';
  out.close();
  if (out) return ExitCode::ok;
  return complain(session.world,
                  fmt::format("destroyed, but cannot write {}: {}", file,
                              std::generic_category().message(errno)),
                  ExitCode::check_failed);
}

Got<ExitCode> destroy_tenant(const ClientSession& session) {
  const auto& line = session.line;
  if (line.confirm != line.tenant) {
    return mistake(session, fmt::format("--confirm '{}' is not '{}': give the name of the tenant "
                                        "that is to be destroyed once more",
                                        line.confirm, line.tenant));
  }
  const auto path = TRY(session.tenant_path("?confirm=" + percent_encode(line.tenant)));
  if (!line.certificate.empty()) TRY(open_certificate(session));
  const auto answer = TRY(session.ask("DELETE", path));
  const auto object = TRY(session.object(answer));
  if (line.json) {
    session.print(answer);
  } else {
    const auto* counts = object.if_contains("destroyed");
    const auto none = json::object();
    const auto& keys = counts != nullptr && counts->is_object() ? counts->get_object() : none;
    session.world.out << fmt::format("{} destroyed {}: {} signing and {} encryption keys\n",
                                     line.tenant, text_of(object, "destroyedAt"),
                                     number_of(keys, "signing"), number_of(keys, "encryption"));
  }
  if (flag_of(object, "pending")) {
    complain(session.world,
             "not finished: the store's files still hold what was deleted, or the certificate is "
             "not signed, or not written among the tombstones; give the same command again to see "
             "how far it is",
             ExitCode::ok);
  }
  return line.certificate.empty() ? ExitCode::ok : write_certificate(session, object);
}

}  // namespace

Got<ExitCode> run_lifecycle_command(const ClientSession& session) {
  const auto& command = session.line.command;
  if (command == "revoke") return revoke(session);
  if (command == "keys list") return list_keys(session);
  return command == "keys destroy" ? destroy_key(session) : destroy_tenant(session);
}

}  // namespace betrace::kms
