#include "support/http_fake_azure.h"

#include <algorithm>
#include <memory>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/jwt.h"

namespace betrace::kms {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using PrivateKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

// A parameter of a query or a form.
std::string parameter(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const auto item = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(item.size() + 1, text.size()));
    if (item.starts_with(name) && item.substr(name.size()).starts_with('=')) {
      return percent_decode(item.substr(name.size() + 1)).value_or("");
    }
  }
  return {};
}

bool verifies_pss(const std::string& pem, std::string_view text,
                  std::span<const std::uint8_t> signature) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  const Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free);
  const PrivateKey key(X509_get_pubkey(certificate.get()), EVP_PKEY_free);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        EVP_MD_CTX_free);
  EVP_PKEY_CTX* options = nullptr;
  const auto bytes = as_bytes(text);
  return EVP_DigestVerifyInit(context.get(), &options, EVP_sha256(), nullptr, key.get()) == 1 &&
         EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(), bytes.data(),
                          bytes.size()) == 1;
}

}  // namespace

CertifiedKey make_certified_key() {
  const PrivateKey key(EVP_RSA_gen(2048), EVP_PKEY_free);
  const Certificate certificate(X509_new(), X509_free);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  const Bio open(BIO_new(BIO_s_mem()), BIO_free), secret(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_X509(open.get(), certificate.get());
  PEM_write_bio_PrivateKey(secret.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return {.certificate = text_of(open.get()), .both = text_of(open.get()) + text_of(secret.get())};
}

void FakeAzure::create_key(const std::string& name, const std::string& kty) {
  const std::lock_guard lock(mutex_);
  auto& key = keys_[name];
  key.kty = kty;
  key.versions.push_back(
      {.id = fmt::format("{:032x}", ++versions_), .master = SecretBytes::random(32)});
}
void FakeAzure::delete_key(const std::string& name) {
  const std::lock_guard lock(mutex_);
  deleted_.insert(keys_.extract(name));
}
void FakeAzure::purge_key(const std::string& name) {
  const std::lock_guard lock(mutex_);
  keys_.erase(name);
}
void FakeAzure::enable(const std::string& name, bool enabled) {
  const std::lock_guard lock(mutex_);
  keys_.at(name).enabled = enabled;
}
void FakeAzure::set_life(const std::string& name, std::optional<std::int64_t> not_before,
                         std::optional<std::int64_t> ends) {
  const std::lock_guard lock(mutex_);
  auto& life = keys_.at(name).life;
  life.clear();
  if (not_before) life += fmt::format(R"(,"nbf":{})", *not_before);
  if (ends) life += fmt::format(R"(,"exp":{})", *ends);
}
void FakeAzure::set_more(const std::string& name, const std::string& json) {
  const std::lock_guard lock(mutex_);
  keys_.at(name).more = json;
}
void FakeAzure::move_to(const std::string& tenant) {
  const std::lock_guard lock(mutex_);
  tenant_ = tenant;
  tokens_.clear();
}
void FakeAzure::deny(const std::string& verb) {
  const std::lock_guard lock(mutex_);
  denied_.insert(verb);
}
void FakeAzure::ask_for(const std::string& resource) {
  const std::lock_guard lock(mutex_);
  resource_ = resource;
}
void FakeAzure::revoke_tokens() {
  const std::lock_guard lock(mutex_);
  tokens_.clear();
}
void FakeAzure::accept_assertion(const std::string& assertion) {
  const std::lock_guard lock(mutex_);
  assertions_.insert(assertion);
}
void FakeAzure::accept_certificate(const std::string& certificate_pem) {
  const std::lock_guard lock(mutex_);
  certificate_ = certificate_pem;
}

HttpAnswer FakeAzure::error(int status, std::string_view code, std::string_view words,
                            std::string_view inner) {
  const auto more =
      inner.empty() ? std::string() : fmt::format(R"(,"innererror":{{"code":"{}"}})", inner);
  return json(status,
              fmt::format(R"({{"error":{{"code":"{}","message":"{}"{}}}}})", code, words, more));
}

HttpAnswer FakeAzure::challenge() const {
  auto made = error(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.");
  made.headers = {
      {"www-authenticate",
       fmt::format(R"(Bearer authorization="https://login.windows.net/{}", resource="{}")", tenant_,
                   resource_)}};
  return made;
}

HttpAnswer FakeAzure::give_token(std::string_view kind, bool as_text) {
  const auto token = fmt::format("{}-token-{}", kind, ++given_);
  tokens_.insert(token);
  return json(200, fmt::format(R"({{"access_token":"{}","expires_in":{}}})", token,
                               as_text ? "\"3599\"" : "3599"));
}

Result<HttpAnswer> FakeAzure::answer(const Seen& seen) {
  const auto query = seen.path.substr(std::min(seen.path.find('?') + 1, seen.path.size()));
  const bool for_vault = parameter(query, "resource") == "https://vault.azure.net";
  if (seen.path.starts_with("/metadata/identity/oauth2/token")) {
    const bool good = seen.header("Metadata") == "true" && for_vault;
    return good ? give_token("imds", true) : error(400, "bad_request", "Metadata is missing");
  }
  if (seen.path.starts_with("/msi/token")) {
    const bool good = seen.header("X-IDENTITY-HEADER") == "canary-identity-header" && for_vault;
    return good ? give_token("app", true) : json(401, "{}");
  }
  if (seen.url == fmt::format("https://login.microsoftonline.com/{}/oauth2/v2.0/token", tenant_)) {
    return token_for_form(seen);
  }
  const auto bearer = seen.header("Authorization");
  if (!bearer.starts_with("Bearer ") || !tokens_.contains(bearer.substr(7))) return challenge();
  return call_vault(seen);
}

HttpAnswer FakeAzure::token_for_form(const Seen& seen) {
  const auto value = [&](std::string_view name) { return parameter(seen.body, name); };
  const bool asks = value("grant_type") == "client_credentials" && value("client_id") == "app" &&
                    value("scope") == "https://vault.azure.net/.default";
  const auto assertion = value("client_assertion");
  const bool asserted =
      value("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" &&
      (assertions_.contains(assertion) || is_own_assertion(assertion, seen.url));
  if (asks && value("client_secret") == "secret") return give_token("secret", false);
  if (asks && asserted) return give_token("assertion", false);
  return json(401, R"({"error":"invalid_client","error_description":)"
                   R"("AADSTS7000215: Invalid client secret provided."})");
}

bool FakeAzure::is_own_assertion(const std::string& jwt, const std::string& audience) const {
  const auto first = jwt.find('.'), last = jwt.rfind('.');
  if (certificate_.empty() || last == std::string::npos || first == last) return false;
  const auto header = base64url_decode(jwt.substr(0, first));
  const auto claims = base64url_decode(jwt.substr(first + 1, last - first - 1));
  const auto signature = base64url_decode(jwt.substr(last + 1));
  JsonDocument head, body;
  if (!header || !claims || !signature || !head.parse(as_text(*header)) ||
      !body.parse(as_text(*claims))) {
    return false;
  }
  const auto& said = body.root().get_object();
  const auto thumbprint = base64url_encode(*certificate_thumbprint(certificate_));
  const auto now =
      std::chrono::floor<std::chrono::seconds>(clock_.now()).time_since_epoch().count();
  return head.root().get_object().at("x5t#S256").get_string() == thumbprint &&
         head.root().get_object().at("alg").get_string() == "PS256" &&
         said.at("iss").get_string() == "app" && said.at("sub").get_string() == "app" &&
         said.at("aud").get_string() == audience && said.at("exp").get_int64() > now &&
         verifies_pss(certificate_, jwt.substr(0, last), *signature);
}

HttpAnswer FakeAzure::call_vault(const Seen& seen) {
  std::vector<std::string> parts;
  auto path = std::string_view(seen.path).substr(0, seen.path.find('?'));
  while (!path.empty()) {
    path.remove_prefix(1);
    parts.emplace_back(path.substr(0, path.find('/')));
    path.remove_prefix(std::min(parts.back().size(), path.size()));
  }
  if (!seen.path.ends_with("?api-version=7.4")) return error(400, "BadParameter", "api-version");
  const auto verb = seen.method == "GET" ? std::string("get") : parts.back();
  if (denied_.contains(verb)) {
    return error(403, "Forbidden", fmt::format("Caller is not authorized to {}", verb),
                 "ForbiddenByRbac");
  }
  if (parts[0] == "deletedkeys") {
    if (!deleted_.contains(parts[1])) return error(404, "KeyNotFound", "no such deleted key");
    return json(200, R"({"scheduledPurgeDate":1796206500})");
  }
  if (verb == "get") return describe(parts[1]);
  return verb == "wrapkey" ? wrap(parts[1], seen) : unwrap(parts[1], parts.at(2), seen);
}

HttpAnswer FakeAzure::describe(const std::string& name) {
  const auto key = keys_.find(name);
  if (key == keys_.end()) return error(404, "KeyNotFound", "A key was not found in this key vault");
  return json(200, fmt::format(R"({{"key":{{"kid":"{}/keys/{}/{}","kty":"{}"{}}},)"
                               R"("attributes":{{"enabled":{}{}}}}})",
                               shown_uri_, name, key->second.versions.back().id, key->second.kty,
                               key->second.more, key->second.enabled, key->second.life));
}

HttpAnswer FakeAzure::with_value(const std::string& name, const Version& version,
                                 std::span<const std::uint8_t> value) const {
  return json(200, fmt::format(R"({{"kid":"{}/keys/{}/{}","value":"{}"}})", shown_uri_, name,
                               version.id, base64url_encode(value)));
}

HttpAnswer FakeAzure::wrap(const std::string& name, const Seen& seen) {
  const auto key = keys_.find(name);
  if (key == keys_.end()) return error(404, "KeyNotFound", "A key was not found in this key vault");
  if (!key->second.enabled) {
    return error(403, "Forbidden", "Operation wrapKey is not allowed on a disabled key.",
                 "KeyDisabled");
  }
  const bool rsa = key->second.kty.starts_with("RSA");
  if (seen.field("alg") != (rsa ? "RSA-OAEP-256" : "A256KW")) {
    return error(400, "BadParameter", "Key and signing algorithm are incompatible.");
  }
  const auto& version = key->second.versions.back();
  const auto plaintext = base64url_decode(seen.field("value"));
  Bytes sealed(gcm_nonce_bytes + plaintext->size() + gcm_tag_bytes);
  const std::span<std::uint8_t, gcm_nonce_bytes> nonce(sealed.data(), gcm_nonce_bytes);
  random_bytes(nonce);
  gcm_seal(version.master, nonce, {}, *plaintext, std::span(sealed).subspan(gcm_nonce_bytes));
  return with_value(name, version, sealed);
}

HttpAnswer FakeAzure::unwrap(const std::string& name, const std::string& wanted, const Seen& seen) {
  const auto key = keys_.find(name);
  const auto* const no_key = "A key was not found in this key vault";
  if (key == keys_.end()) return error(404, "KeyNotFound", no_key);
  const auto version = std::ranges::find(key->second.versions, wanted, &Version::id);
  if (version == key->second.versions.end()) return error(404, "KeyNotFound", no_key);
  if (!key->second.enabled) {
    return error(403, "Forbidden", "Operation unwrapKey is not allowed on a disabled key.",
                 "KeyDisabled");
  }
  const auto sealed = base64url_decode(seen.field("value"));
  if (!sealed || sealed->size() <= gcm_nonce_bytes + gcm_tag_bytes) {
    return error(400, "BadParameter", "The parameter is incorrect.");
  }
  const std::span<const std::uint8_t, gcm_nonce_bytes> nonce(sealed->data(), gcm_nonce_bytes);
  Bytes plaintext(sealed->size() - gcm_nonce_bytes - gcm_tag_bytes);
  if (!gcm_open(version->master, nonce, {}, std::span(*sealed).subspan(gcm_nonce_bytes),
                plaintext)) {
    return error(400, "BadParameter", "The parameter is incorrect.");
  }
  return with_value(name, *version, plaintext);
}

}  // namespace betrace::kms
