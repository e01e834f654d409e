#include "support/http_fake_gcp.h"

#include <memory>

#include <boost/crc.hpp>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/crypto.h"
#include "base/encoding.h"

namespace betrace::kms {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using PrivateKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

std::uint32_t crc32c(std::span<const std::uint8_t> bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

// The bytes of a field whose checksum, which must be there, is right.
std::optional<WipedBytes> checked(const ScriptedHttp::Seen& seen, const std::string& name) {
  auto bytes = base64_decode(seen.field(name));
  if (!bytes || seen.field(name + "Crc32c") != std::to_string(crc32c(*bytes))) return std::nullopt;
  return bytes;
}

std::map<std::string, std::string> form_of(std::string_view body) {
  std::map<std::string, std::string> form;
  while (!body.empty()) {
    const auto end = std::min(body.find('&'), body.size());
    const auto item = body.substr(0, end);
    body.remove_prefix(std::min(end + 1, body.size()));
    const auto equals = item.find('=');
    form[std::string(item.substr(0, equals))] = *percent_decode(item.substr(equals + 1));
  }
  return form;
}

bool verifies(const std::string& pem, std::string_view text, std::span<const std::uint8_t> by) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  const PrivateKey key(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        EVP_MD_CTX_free);
  const auto bytes = as_bytes(text);
  return EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) == 1 &&
         EVP_DigestVerify(context.get(), by.data(), by.size(), bytes.data(), bytes.size()) == 1;
}

}  // namespace

std::pair<std::string, std::string> rsa_pair() {
  const PrivateKey key(EVP_RSA_gen(2048), EVP_PKEY_free);
  const Bio secret(BIO_new(BIO_s_mem()), BIO_free), open(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_PrivateKey(secret.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  PEM_write_bio_PUBKEY(open.get(), key.get());
  return {text_of(secret.get()), text_of(open.get())};
}

void FakeGcp::create_key(const std::string& name) {
  const std::lock_guard lock(mutex_);
  keys_[std::string(parent) + name] = {.master = SecretBytes::random(32)};
}
void FakeGcp::delete_key(const std::string& name) {
  const std::lock_guard lock(mutex_);
  keys_.erase(std::string(parent) + name);
}
void FakeGcp::set_state(const std::string& name, const std::string& state) {
  const std::lock_guard lock(mutex_);
  keys_.at(std::string(parent) + name).state = state;
}
void FakeGcp::describe_as(const std::string& name, const std::string& fields) {
  const std::lock_guard lock(mutex_);
  keys_.at(std::string(parent) + name).fields = fields;
}
void FakeGcp::deny(const std::string& verb) {
  const std::lock_guard lock(mutex_);
  denied_.insert(verb);
}
void FakeGcp::have_hsms(bool there) {
  const std::lock_guard lock(mutex_);
  hsms_ = there;
}
void FakeGcp::accept_jwts_of(const std::string& client_email, const std::string& public_key) {
  const std::lock_guard lock(mutex_);
  accounts_[client_email] = public_key;
}
void FakeGcp::accept_subject_token(const std::string& token) {
  const std::lock_guard lock(mutex_);
  subject_tokens_.insert(token);
}
void FakeGcp::revoke_tokens() {
  const std::lock_guard lock(mutex_);
  tokens_.clear();
}

HttpAnswer FakeGcp::error(int status, std::string_view name, std::string_view words) {
  return json(status, fmt::format(R"({{"error":{{"code":{},"message":"{}","status":"{}"}}}})",
                                  status, words, name));
}

HttpAnswer FakeGcp::give_token(std::string_view kind) {
  const auto token = fmt::format("{}-token-{}", kind, ++given_);
  tokens_.insert(token);
  return json(200, fmt::format(R"({{"access_token":"{}","expires_in":3599,)"
                               R"("token_type":"Bearer"}})",
                               token));
}

Result<HttpAnswer> FakeGcp::answer(const Seen& seen) {
  if (seen.url == token_url || seen.url == "https://sts.googleapis.com/v1/token") {
    return token_for_form(seen);
  }
  if (seen.path.starts_with("/computeMetadata/")) {
    if (seen.header("Metadata-Flavor") != "Google") return json(403, "");
    auto given = give_token("metadata");
    given.headers = {{"metadata-flavor", "Google"}};
    return given;
  }
  const auto bearer = seen.header("Authorization");
  if (!bearer.starts_with("Bearer ") || !tokens_.contains(bearer.substr(7))) {
    return error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.");
  }
  if (seen.path.ends_with(":generateAccessToken")) {
    const auto token = fmt::format("impersonated-token-{}", ++given_);
    tokens_.insert(token);
    return json(200, fmt::format(R"({{"accessToken":"{}","expireTime":"{}"}})", token,
                                 rfc3339(clock_.now() + std::chrono::hours(1))));
  }
  return call_kms(seen.path.substr(std::string_view("/v1/").size()), seen);
}

HttpAnswer FakeGcp::token_for_form(const Seen& seen) {
  auto form = form_of(seen.body);
  const auto refused = [](std::string_view why) {
    return json(400, fmt::format(R"({{"error":"invalid_grant","error_description":"{}"}})", why));
  };
  const auto grant = form["grant_type"];
  if (grant == "urn:ietf:params:oauth:grant-type:jwt-bearer") {
    const auto fault = fault_of_jwt(form["assertion"]);
    return fault.empty() ? give_token("jwt") : refused(fault);
  }
  if (grant == "refresh_token") {
    const bool good = form["client_id"] == "id" && form["client_secret"] == "secret" &&
                      form["refresh_token"] == "refresh";
    return good ? give_token("user") : refused("Token has been expired or revoked.");
  }
  const bool exchange =
      grant == "urn:ietf:params:oauth:grant-type:token-exchange" &&
      form["requested_token_type"] == "urn:ietf:params:oauth:token-type:access_token" &&
      (form["subject_token_type"] == "urn:ietf:params:oauth:token-type:jwt" ||
       form["subject_token_type"] == "urn:ietf:params:aws:token-type:aws4_request") &&
      form["audience"] == "//iam.googleapis.com/pool";
  if (!exchange || !subject_tokens_.contains(form["subject_token"]))
    return refused("no such token");
  return give_token("workload");
}

std::string FakeGcp::fault_of_jwt(const std::string& jwt) const {
  const auto last = jwt.rfind('.'), first = jwt.find('.');
  if (last == std::string::npos || first == last) return "no JWT";
  const auto signature = base64url_decode(jwt.substr(last + 1));
  const auto claims = base64url_decode(jwt.substr(first + 1, last - first - 1));
  JsonDocument document;
  if (!signature || !claims || !document.parse(as_text(*claims))) return "no JWT";
  const auto& root = document.root().get_object();
  const auto account = accounts_.find(std::string(root.at("iss").get_string()));
  if (account == accounts_.end()) return "unknown account";
  if (!verifies(account->second, jwt.substr(0, last), *signature)) return "Invalid JWT Signature.";
  if (root.at("aud").get_string() != token_url) return "Invalid audience.";
  if (root.at("scope").get_string() != "https://www.googleapis.com/auth/cloud-platform") {
    return "Invalid scope.";
  }
  const auto now =
      std::chrono::floor<std::chrono::seconds>(clock_.now()).time_since_epoch().count();
  const auto issued = root.at("iat").to_number<std::int64_t>();
  const auto expires = root.at("exp").to_number<std::int64_t>();
  if (std::abs(issued - now) > 300 || expires > issued + 3600 || expires <= now) {
    return "Token must be a short-lived token (60 minutes) and in a reasonable timeframe.";
  }
  return {};
}

HttpAnswer FakeGcp::call_kms(const std::string& path, const Seen& seen) {
  const auto colon = path.find(':');
  const auto name = path.substr(0, colon);
  const auto verb = colon == std::string::npos ? "describe" : path.substr(colon + 1);
  if (denied_.contains(verb)) {
    return error(403, "PERMISSION_DENIED", fmt::format("Permission '{}' denied on {}", verb, name));
  }
  if (verb == "generateRandomBytes") {
    if (!hsms_) return error(400, "INVALID_ARGUMENT", "protection level HSM is not supported");
    return random_bytes_of_hsm();
  }
  const auto found = keys_.find(name);
  if (found == keys_.end()) {
    return error(404, "NOT_FOUND", fmt::format("CryptoKey {} not found.", name));
  }
  const auto& key = found->second;
  if (verb == "describe") return describe(name, key);
  if (key.state != "ENABLED") {
    return error(400, "FAILED_PRECONDITION",
                 fmt::format("{} is not enabled, current state is: {}.", name, key.state));
  }
  return verb == "encrypt" ? encrypt(key, seen) : decrypt(key, seen);
}

std::string FakeGcp::with_sum(std::string_view name, std::span<const std::uint8_t> bytes) const {
  return fmt::format(R"("{0}":"{1}","{0}Crc32c":"{2}")", name, base64_encode(bytes),
                     crc32c(bytes) + (damaged_ ? 1 : 0));
}

HttpAnswer FakeGcp::random_bytes_of_hsm() const {
  const auto bytes = SecretBytes::random(32);
  return json(200, "{" + with_sum("data", bytes.expose()) + "}");
}

HttpAnswer FakeGcp::encrypt(const Key& key, const Seen& seen) const {
  const auto plaintext = checked(seen, "plaintext");
  const auto aad = checked(seen, "additionalAuthenticatedData");
  if (!plaintext || !aad) return error(400, "INVALID_ARGUMENT", "The checksum did not match.");
  Bytes sealed(gcm_nonce_bytes + plaintext->size() + gcm_tag_bytes);
  const std::span<std::uint8_t, gcm_nonce_bytes> nonce(sealed.data(), gcm_nonce_bytes);
  random_bytes(nonce);
  gcm_seal(key.master, nonce, *aad, *plaintext, std::span(sealed).subspan(gcm_nonce_bytes));
  return json(200, fmt::format(R"({{{},"verifiedPlaintextCrc32c":true,)"
                               R"("verifiedAdditionalAuthenticatedDataCrc32c":true}})",
                               with_sum("ciphertext", sealed)));
}

HttpAnswer FakeGcp::decrypt(const Key& key, const Seen& seen) const {
  const auto sealed = checked(seen, "ciphertext");
  const auto aad = checked(seen, "additionalAuthenticatedData");
  const auto bad = error(400, "INVALID_ARGUMENT",
                         "Decryption failed: verify that 'name' refers to the correct CryptoKey.");
  if (!sealed || !aad || sealed->size() <= gcm_nonce_bytes + gcm_tag_bytes) return bad;
  const std::span<const std::uint8_t, gcm_nonce_bytes> nonce(sealed->data(), gcm_nonce_bytes);
  Bytes plaintext(sealed->size() - gcm_nonce_bytes - gcm_tag_bytes);
  if (!gcm_open(key.master, nonce, *aad, std::span(*sealed).subspan(gcm_nonce_bytes), plaintext)) {
    return bad;
  }
  return json(200, "{" + with_sum("plaintext", plaintext) + "}");
}

HttpAnswer FakeGcp::describe(const std::string& path, const Key& key) const {
  if (!key.fields.empty()) return json(200, key.fields);
  return json(200, fmt::format(R"({{"name":"{0}","purpose":"ENCRYPT_DECRYPT","primary":)"
                               R"({{"name":"{0}/cryptoKeyVersions/1","state":"{1}"}}}})",
                               path, key.state));
}

}  // namespace betrace::kms
