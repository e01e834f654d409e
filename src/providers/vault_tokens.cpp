#include "providers/vault_tokens.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/try.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;

void field(std::string_view name, std::string_view value, WipedString& body) {
  std::string text;
  text.reserve(6 * (name.size() + value.size()) + 8);  // so that it never moves
  text += body.empty() ? "{" : ",";
  append_json_string(name, text);
  text += ':';
  append_json_string(value, text);
  body += text;
  wipe(text.data(), text.size());
}

class Tokens {
 public:
  Tokens(const VaultSettings& settings, const VaultClient& client, const Clock& clock)
      : settings_(settings), client_(client), clock_(clock) {
    const auto keep = [&](std::string_view what, const std::string& path) {
      if (!path.empty()) file_.emplace(std::string(what), path);
    };
    keep("vault.token-file", settings.token_file);
    keep("vault.secret-id-file", settings.secret_id_file);
    keep("vault.k8s.token-file", settings.jwt_file);
  }

  Result<VaultToken> load(const CallContext& call, const VaultTokenCache::Pointer& previous) {
    // What somebody else renews in a file is theirs to renew.
    const bool ours = settings_.token_file.empty();
    const bool lives = previous && (!previous->expires_at || clock_.now() < *previous->expires_at);
    if (lives && previous->renewable && ours) {
      auto renewed = renew(call, *previous);
      if (renewed) return renewed;
      if (settings_.login == VaultLogin::token) return renewed;
    }
    return settings_.login == VaultLogin::token ? given(call) : logged_in(call);
  }
  bool has_changed() const { return !settings_.token_file.empty() && file_->has_changed(); }

 private:
  VaultToken read(const JsonAnswer& answer, std::string_view lease, std::string_view renewable,
                  WipedString value) const {
    // What is no true answer must not overflow a time.
    constexpr double longest_seconds = 3e9;
    const double seconds = std::clamp(answer.number(lease).value_or(0), 0.0, longest_seconds);
    const milliseconds life(static_cast<std::int64_t>(seconds * 1000));
    VaultToken token{.value = std::move(value),
                     .renewable = answer.flag(renewable).value_or(false),
                     .obtained_at = clock_.now(),
                     .lease = life};
    if (life > milliseconds(0)) token.expires_at = token.obtained_at + life;
    return token;
  }

  // Vault answers to a renewal how long the token lives now; towards its maximum that is less and
  // less, and a log-in is due.
  Result<VaultToken> renew(const CallContext& call, const VaultToken& token) {
    const auto answer = TRY(client_.ask(
        call, {.path = "auth/token/renew-self", .purpose = "renew the token", .body = "{}"},
        token.value));
    auto renewed = read(answer, "/auth/lease_duration", "/auth/renewable", token.value);
    renewed.obtained_at = token.obtained_at;
    const auto given = std::exchange(renewed.lease, token.lease);
    const bool ends = given < token.lease / 2;
    if (ends && settings_.login != VaultLogin::token) {
      return fail(ErrorCode::kms_access_denied, "the token is near the end of its longest life");
    }
    // Asking for every call would not make it live longer.
    if (ends) renewed.renewable = false;
    return renewed;
  }

  Result<VaultToken> given(const CallContext& call) {
    WipedString value = settings_.token;
    if (file_) value = TRY(file_->read());
    const auto answer = client_.ask(
        call, {.method = "GET", .path = "auth/token/lookup-self", .purpose = "look up the token"},
        value);
    // A policy may keep a token from looking at itself; then it is used as it is.
    if (!answer && answer.error().code != ErrorCode::kms_access_denied) {
      return std::unexpected(answer.error());
    }
    if (!answer) return VaultToken{.value = std::move(value), .obtained_at = clock_.now()};
    return read(*answer, "/data/ttl", "/data/renewable", std::move(value));
  }

  Result<VaultToken> logged_in(const CallContext& call) {
    WipedString body;
    if (settings_.login == VaultLogin::approle) {
      field("role_id", settings_.role, body);
      const WipedString secret = file_ ? TRY(file_->read()) : settings_.secret_id;
      if (!secret.empty()) field("secret_id", std::string_view(secret), body);
    } else if (settings_.login == VaultLogin::kubernetes) {
      field("role", settings_.role, body);
      field("jwt", std::string_view(TRY(file_->read())), body);
    } else if (!settings_.role.empty()) {
      field("name", settings_.role, body);
    }
    body += body.empty() ? "{}" : "}";
    auto answer =
        client_.ask(call,
                    {.path = fmt::format("auth/{}/login", settings_.auth_mount),
                     .purpose = fmt::format("log in to Vault by {}", settings_.auth_mount),
                     .body = std::move(body)},
                    {});
    if (!answer) return refused(std::move(answer).error());
    const auto token = answer->text("/auth/client_token");
    if (!token || token->empty()) {
      return fail(
          ErrorCode::kms_unavailable,
          fmt::format("Failed to log in to Vault: {} answered no token", settings_.address));
    }
    logger(log_category::kms).debug("Logged in to Vault by {}", settings_.auth_mount);
    return read(*answer, "/auth/lease_duration", "/auth/renewable", WipedString(*token));
  }

  // A log-in that is refused is nobody's ciphertext, and no disabled key.
  static std::unexpected<Error> refused(Error error) {
    if (error.code != ErrorCode::kms_unavailable && error.code != ErrorCode::kms_timeout) {
      error.code = ErrorCode::kms_access_denied;
    }
    return std::unexpected(std::move(error));
  }

  const VaultSettings& settings_;
  const VaultClient& client_;
  const Clock& clock_;
  std::optional<FileSecret> file_;
};

}  // namespace

VaultTokenCache::Origin vault_tokens(const VaultSettings& settings, const VaultClient& client,
                                     const Clock& clock) {
  const auto tokens = std::make_shared<Tokens>(settings, client, clock);
  return {.what = "the Vault token",
          .load =
              [tokens](const CallContext& call, const VaultTokenCache::Pointer& previous) {
                return tokens->load(call, previous);
              },
          .has_changed = [tokens] { return tokens->has_changed(); }};
}

}  // namespace betrace::kms
