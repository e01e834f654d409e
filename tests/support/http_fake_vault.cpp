#include "support/http_fake_vault.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/json.h"

namespace betrace::kms {

void FakeVault::create_key(const std::string& name, const std::string& type) {
  const std::lock_guard lock(mutex_);
  keys_[name] = {.type = type, .fields = {}, .master = SecretBytes::random(32)};
}
void FakeVault::delete_key(const std::string& name) {
  const std::lock_guard lock(mutex_);
  keys_.erase(name);
}
void FakeVault::describe_as(const std::string& name, const std::string& fields) {
  const std::lock_guard lock(mutex_);
  keys_.at(name).fields = "," + fields;
}
void FakeVault::give(const std::string& token, std::chrono::seconds life,
                     std::chrono::seconds longest) {
  const auto now = clock_.now();
  tokens_[token] = {.ends_at = now + life,
                    .longest_until = longest.count() == 0 ? SystemTime::max() : now + longest,
                    .life = life};
}
void FakeVault::accept_token(const std::string& token, std::chrono::seconds life,
                             std::chrono::seconds longest) {
  const std::lock_guard lock(mutex_);
  give(token, life, longest);
}
void FakeVault::revoke_token(const std::string& token) {
  const std::lock_guard lock(mutex_);
  tokens_.erase(token);
}
void FakeVault::accept_login(const std::string& mount, const std::string& body,
                             std::chrono::seconds life, std::chrono::seconds longest) {
  const std::lock_guard lock(mutex_);
  logins_[mount] = {.body = body, .life = life, .longest = longest};
}
void FakeVault::deny(const std::string& path) {
  const std::lock_guard lock(mutex_);
  denied_.insert(path);
}
Result<HttpAnswer> FakeVault::answer(const Seen& seen) {
  const auto path = seen.path.substr(std::string_view("/v1/").size());
  if (path.starts_with("auth/") && path.ends_with("/login")) {
    return log_in(path.substr(5, path.size() - 11), seen.body);
  }
  const auto given = seen.header("X-Vault-Token");
  const auto token = tokens_.find(given);
  if (token == tokens_.end() || !token->second.lives(clock_.now())) {
    return error(403, "permission denied");
  }
  if (denied_.contains(path)) return error(403, "1 error occurred: permission denied");
  if (path == "auth/token/renew-self") return renew(given);
  if (path == "auth/token/lookup-self") return look_up(given);
  return transit(path, seen);
}

HttpAnswer FakeVault::log_in(const std::string& mount, const std::string& body) {
  const auto found = logins_.find(mount);
  if (found == logins_.end() || found->second.body != body) {
    return error(400, "invalid role or secret ID");
  }
  const auto token = fmt::format("login-token-{}", ++given_);
  give(token, found->second.life, found->second.longest);
  return json(200, fmt::format(R"({{"auth":{{"client_token":"{}","lease_duration":{},)"
                               R"("renewable":true}}}})",
                               token, found->second.life.count()));
}

HttpAnswer FakeVault::renew(const std::string& name) {
  auto& token = tokens_.at(name);
  const auto now = clock_.now();
  token.ends_at = std::min(now + token.life, token.longest_until);
  const auto left = std::chrono::floor<std::chrono::seconds>(token.ends_at - now);
  return json(200, fmt::format(R"({{"auth":{{"client_token":"{}","lease_duration":{},)"
                               R"("renewable":true}}}})",
                               name, left.count()));
}

HttpAnswer FakeVault::look_up(const std::string& name) {
  const auto& token = tokens_.at(name);
  const auto left = std::chrono::floor<std::chrono::seconds>(token.ends_at - clock_.now());
  return json(200,
              fmt::format(R"({{"data":{{"ttl":{},"renewable":{}}}}})",
                          token.life.count() == 0 ? 0 : left.count(), token.life.count() != 0));
}

HttpAnswer FakeVault::transit(const std::string& path, const Seen& seen) {
  const auto name = path.substr(path.rfind('/') + 1);
  const auto key = keys_.find(name);
  const bool reads = path == "transit/keys/" + name;
  if (key == keys_.end())
    return reads ? json(404, R"({"errors":[]})") : error(400, "encryption key not found");
  if (reads) {
    return json(200, fmt::format(R"({{"data":{{"name":"{}","type":"{}"{}}}}})", name,
                                 key->second.type, key->second.fields));
  }
  if (key->second.fields.contains(R"("soft_deleted":true)")) {
    return error(400, "refusing to use soft-deleted key");
  }
  const auto aad = all_ignore_context_ ? std::string() : seen.field("associated_data");
  if (path == "transit/datakey/plaintext/" + name) {
    const auto fresh = SecretBytes::random(32);
    return wrap(key->second, fresh.expose(), datakey_ignores_context_ ? "" : aad, true);
  }
  if (path == "transit/encrypt/" + name) {
    return wrap(key->second, *base64_decode(seen.field("plaintext")), aad, false);
  }
  if (path == "transit/decrypt/" + name) {
    return unwrap(key->second, seen.field("ciphertext"), aad);
  }
  return error(404, "no handler for route");
}

HttpAnswer FakeVault::wrap(const Key& key, std::span<const std::uint8_t> plaintext,
                           const std::string& aad, bool show) const {
  Bytes sealed(gcm_nonce_bytes + plaintext.size() + gcm_tag_bytes);
  const std::span<std::uint8_t, gcm_nonce_bytes> nonce(sealed.data(), gcm_nonce_bytes);
  random_bytes(nonce);
  gcm_seal(key.master, nonce, as_bytes(aad), plaintext, std::span(sealed).subspan(gcm_nonce_bytes));
  const auto shown =
      show ? fmt::format(R"(,"plaintext":"{}")", base64_encode(plaintext)) : std::string();
  return json(200, fmt::format(R"({{"data":{{"ciphertext":"vault:v1:{}"{}}}}})",
                               base64_encode(sealed), shown));
}

HttpAnswer FakeVault::unwrap(const Key& key, const std::string& text,
                             const std::string& aad) const {
  constexpr std::string_view prefix = "vault:v1:";
  if (!text.starts_with(prefix)) return error(400, "invalid ciphertext: version is too new");
  const auto sealed = base64_decode(std::string_view(text).substr(prefix.size()));
  if (!sealed || sealed->size() <= gcm_nonce_bytes + gcm_tag_bytes) {
    return error(400, "invalid ciphertext length");
  }
  const std::span<const std::uint8_t, gcm_nonce_bytes> nonce(sealed->data(), gcm_nonce_bytes);
  Bytes plaintext(sealed->size() - gcm_nonce_bytes - gcm_tag_bytes);
  if (!gcm_open(key.master, nonce, as_bytes(aad), std::span(*sealed).subspan(gcm_nonce_bytes),
                plaintext)) {
    return error(400, "cipher: message authentication failed");
  }
  return json(200, fmt::format(R"({{"data":{{"plaintext":"{}"}}}})", base64_encode(plaintext)));
}

}  // namespace betrace::kms
