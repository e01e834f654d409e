#include "support/http_fake_vault.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/json.h"

namespace betrace::kms {
namespace {

HttpAnswer json(int status, std::string_view body) {
  HttpAnswer answer{.status = status};
  answer.body = body;
  return answer;
}
HttpAnswer error(int status, std::string_view words) {
  return json(status, fmt::format(R"({{"errors":["{}"]}})", words));
}

std::string field(const std::string& body, std::string_view name) {
  JsonDocument document;
  if (!document.parse(body)) return {};
  const auto* found = document.root().get_object().if_contains(name);
  return found != nullptr && found->is_string() ? std::string(found->get_string()) : "";
}

}  // namespace

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
void FakeVault::add_trouble(Trouble trouble) {
  const std::lock_guard lock(mutex_);
  troubles_.push_back(std::move(trouble));
}
std::vector<FakeVault::Seen> FakeVault::seen() const {
  const std::lock_guard lock(mutex_);
  return seen_;
}
std::size_t FakeVault::count(std::string_view path_part) const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::ranges::count_if(
      seen_, [&](const Seen& each) { return each.path.contains(path_part); }));
}

Result<HttpAnswer> FakeVault::send(const HttpCall& call) {
  const std::lock_guard lock(mutex_);
  Seen one{.method = call.method, .body = std::string(std::string_view(call.body))};
  one.path = call.url.substr(call.url.find("/v1/") + 4);
  for (const auto& [name, value] : call.headers) {
    if (name == "X-Vault-Token") one.token = value;
    if (name == "X-Vault-Namespace") one.name_space = value;
  }
  seen_.push_back(one);
  const auto trouble = std::ranges::find_if(
      troubles_, [&](const Trouble& each) { return one.path.starts_with(each.path); });
  if (trouble == troubles_.end()) return answer(one);
  auto now = *trouble;
  if (--trouble->times == 0) troubles_.erase(trouble);
  now.times = 1;
  if (now.network) return std::unexpected(*now.network);
  if (now.delay > call.timeout) return fail(ErrorCode::kms_timeout, "timed out");
  auto made = json(now.status, now.body);
  made.headers = now.headers;
  return made;
}

Result<HttpAnswer> FakeVault::answer(const Seen& seen) {
  if (seen.path.starts_with("auth/") && seen.path.ends_with("/login")) {
    return log_in(seen.path.substr(5, seen.path.size() - 11), seen.body);
  }
  const auto token = tokens_.find(seen.token);
  if (token == tokens_.end() || !token->second.lives(clock_.now())) {
    return error(403, "permission denied");
  }
  if (denied_.contains(seen.path)) return error(403, "1 error occurred: permission denied");
  if (seen.path == "auth/token/renew-self") return renew(seen.token);
  if (seen.path == "auth/token/lookup-self") return look_up(seen.token);
  return transit(seen);
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

HttpAnswer FakeVault::transit(const Seen& seen) {
  const auto name = seen.path.substr(seen.path.rfind('/') + 1);
  const auto key = keys_.find(name);
  const bool reads = seen.path == "transit/keys/" + name;
  if (key == keys_.end())
    return reads ? json(404, R"({"errors":[]})") : error(400, "encryption key not found");
  if (reads) {
    return json(200, fmt::format(R"({{"data":{{"name":"{}","type":"{}"{}}}}})", name,
                                 key->second.type, key->second.fields));
  }
  const auto aad = field(seen.body, "associated_data");
  if (seen.path == "transit/datakey/plaintext/" + name) {
    const auto fresh = SecretBytes::random(32);
    return wrap(key->second, fresh.expose(), datakey_ignores_context_ ? "" : aad, true);
  }
  if (seen.path == "transit/encrypt/" + name) {
    return wrap(key->second, *base64_decode(field(seen.body, "plaintext")), aad, false);
  }
  if (seen.path == "transit/decrypt/" + name) {
    return unwrap(key->second, field(seen.body, "ciphertext"), aad);
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
