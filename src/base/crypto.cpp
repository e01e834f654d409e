#include "base/crypto.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <openssl/evp.h>
#include <sodium.h>

#include "base/encoding.h"

namespace betrace::kms {
namespace {

// libsodium must be initialised once before use; failing to find entropy leaves nothing to do.
const bool sodium_ready = [] {
  if (sodium_init() < 0) std::abort();
  return true;
}();

struct CipherDeleter {
  void operator()(EVP_CIPHER* cipher) const { EVP_CIPHER_free(cipher); }
};
struct ContextDeleter {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};

const EVP_CIPHER* aes_256_gcm() {
  static const std::unique_ptr<EVP_CIPHER, CipherDeleter> cipher(
      EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr));
  return cipher.get();
}

// A context per thread and direction. A key schedule must not outlive its call: resetting the
// context wipes it, and is cheaper than writing another key over it.
class ThreadCipher {
 public:
  explicit ThreadCipher(int encrypting) : encrypting_(encrypting) {}
  EVP_CIPHER_CTX* begin(const SecretBytes& key, const std::uint8_t* nonce, ByteView aad) {
    assert(key.size() == aes_key_bytes);
    check(EVP_CipherInit_ex2(context_.get(), aes_256_gcm(), key.expose().data(), nonce, encrypting_,
                             nullptr));
    int written = 0;
    if (!aad.empty()) {
      check(EVP_CipherUpdate(context_.get(), nullptr, &written, aad.data(),
                             static_cast<int>(aad.size())));
    }
    return context_.get();
  }
  void forget() { EVP_CIPHER_CTX_reset(context_.get()); }
  // OpenSSL fails here only when memory is exhausted or a size is impossible.
  static void check(int ok) {
    if (ok != 1) std::abort();
  }

 private:
  const int encrypting_;
  std::unique_ptr<EVP_CIPHER_CTX, ContextDeleter> context_{EVP_CIPHER_CTX_new()};
};

class SodiumSigner final : public Signer {
 public:
  void sign(std::span<SignJob> jobs) const override {
    for (auto& job : jobs) {
      crypto_sign_detached(job.signature.data(), nullptr, job.payload.data(), job.payload.size(),
                           job.key->expose().data());
    }
  }
  void verify(std::span<VerifyJob> jobs) const override {
    for (auto& job : jobs) {
      job.valid = job.public_key.size() == crypto_sign_PUBLICKEYBYTES &&
                  job.signature.size() == crypto_sign_BYTES &&
                  crypto_sign_verify_detached(job.signature.data(), job.payload.data(),
                                              job.payload.size(), job.public_key.data()) == 0;
    }
  }
};

}  // namespace

void gcm_seal(const SecretBytes& key, std::span<const std::uint8_t, gcm_nonce_bytes> nonce,
              ByteView aad, ByteView plaintext, std::span<std::uint8_t> out) {
  assert(out.size() == plaintext.size() + gcm_tag_bytes);
  thread_local ThreadCipher cipher(1);
  auto* const context = cipher.begin(key, nonce.data(), aad);
  int written = 0;
  if (!plaintext.empty()) {
    ThreadCipher::check(EVP_EncryptUpdate(context, out.data(), &written, plaintext.data(),
                                          static_cast<int>(plaintext.size())));
  }
  ThreadCipher::check(EVP_EncryptFinal_ex(context, out.data() + written, &written));
  ThreadCipher::check(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, gcm_tag_bytes,
                                          out.data() + plaintext.size()));
  cipher.forget();
}

bool gcm_open(const SecretBytes& key, std::span<const std::uint8_t, gcm_nonce_bytes> nonce,
              ByteView aad, ByteView sealed, std::span<std::uint8_t> out) {
  if (sealed.size() < gcm_tag_bytes || out.size() != sealed.size() - gcm_tag_bytes) return false;
  thread_local ThreadCipher cipher(0);
  auto* const context = cipher.begin(key, nonce.data(), aad);
  int written = 0;
  if (!out.empty()) {
    ThreadCipher::check(EVP_DecryptUpdate(context, out.data(), &written, sealed.data(),
                                          static_cast<int>(out.size())));
  }
  std::array<std::uint8_t, gcm_tag_bytes> tag;
  std::ranges::copy(sealed.last(gcm_tag_bytes), tag.begin());
  ThreadCipher::check(
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, gcm_tag_bytes, tag.data()));
  std::uint8_t nothing = 0;
  const bool good = EVP_DecryptFinal_ex(context, &nothing, &written) == 1;
  cipher.forget();
  if (!good) wipe(out.data(), out.size());
  return good;
}

SecretBytes ed25519_key_from_seed(const SecretBytes& seed) {
  assert(seed.size() == crypto_sign_SEEDBYTES);
  SecretBytes key(crypto_sign_SECRETKEYBYTES);
  std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> public_key;
  crypto_sign_seed_keypair(public_key.data(), key.expose_mutable().data(), seed.expose().data());
  return key;
}

ByteView ed25519_public_half(const SecretBytes& key) { return key.expose().last(32); }

Bytes ed25519_spki(ByteView public_key) {
  // SEQUENCE { SEQUENCE { OID 1.3.101.112 } BIT STRING }
  Bytes der{0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
  der.insert(der.end(), public_key.begin(), public_key.end());
  return der;
}

std::optional<Bytes> ed25519_of_spki(ByteView der) {
  if (der.size() < crypto_sign_PUBLICKEYBYTES) return std::nullopt;
  const auto raw = der.last(crypto_sign_PUBLICKEYBYTES);
  if (!std::ranges::equal(der, ed25519_spki(raw))) return std::nullopt;
  return Bytes(raw.begin(), raw.end());
}

std::optional<Bytes> parse_ed25519_public(std::string_view text) {
  std::string encoded(text);
  if (text.starts_with("-----BEGIN")) {
    encoded.erase(0, std::min(encoded.find('\n'), encoded.size()));
    encoded.erase(std::min(encoded.find("-----END"), encoded.size()));
    std::erase_if(encoded, [](char c) { return c == '\n' || c == '\r'; });
  }
  const auto bytes = base64_decode(encoded);
  if (!bytes) return std::nullopt;
  if (bytes->size() == crypto_sign_PUBLICKEYBYTES) return Bytes(bytes->begin(), bytes->end());
  return ed25519_of_spki(*bytes);
}

std::array<std::uint8_t, 32> sha256(ByteView data) { return sha256({data}); }

std::array<std::uint8_t, 32> sha256(std::initializer_list<ByteView> parts) {
  // Looked up and made once: by itself that takes longer than to hash a hundred bytes.
  static EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  struct Context {
    EVP_MD_CTX* const raw = EVP_MD_CTX_new();
    ~Context() { EVP_MD_CTX_free(raw); }
  };
  thread_local const Context context;
  std::array<std::uint8_t, 32> digest;
  ThreadCipher::check(EVP_DigestInit_ex2(context.raw, algorithm, nullptr));
  for (const auto part : parts) {
    ThreadCipher::check(EVP_DigestUpdate(context.raw, part.data(), part.size()));
  }
  ThreadCipher::check(EVP_DigestFinal_ex(context.raw, digest.data(), nullptr));
  return digest;
}

std::array<std::uint8_t, 32> hmac_sha256(ByteView key, ByteView data) {
  std::array<std::uint8_t, 32> tag{};
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, key.data(), key.size());
  crypto_auth_hmacsha256_update(&state, data.data(), data.size());
  crypto_auth_hmacsha256_final(&state, tag.data());
  sodium_memzero(&state, sizeof state);
  return tag;
}

std::array<std::uint8_t, 20> sha1(ByteView data) {
  std::array<std::uint8_t, 20> digest;
  ThreadCipher::check(
      EVP_Q_digest(nullptr, "SHA1", nullptr, data.data(), data.size(), digest.data(), nullptr));
  return digest;
}

void random_bytes(std::span<std::uint8_t> out) {
  struct Pool {
    std::array<std::uint8_t, 1024> bytes;
    std::size_t used = sizeof(bytes);
    ~Pool() { wipe(bytes.data(), bytes.size()); }
  };
  thread_local Pool pool;
  if (out.empty()) return;
  if (out.size() > pool.bytes.size() / 4) {
    randombytes_buf(out.data(), out.size());
    return;
  }
  if (pool.used + out.size() > pool.bytes.size()) {
    randombytes_buf(pool.bytes.data(), pool.bytes.size());
    pool.used = 0;
  }
  std::memcpy(out.data(), pool.bytes.data() + pool.used, out.size());
  std::memset(pool.bytes.data() + pool.used, 0, out.size());
  pool.used += out.size();
}

bool constant_time_equal(ByteView a, ByteView b) {
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

Bytes dsse_encode(std::string_view type, ByteView body) {
  const auto head = "DSSEv1 " + std::to_string(type.size()) + " " + std::string(type) + " " +
                    std::to_string(body.size()) + " ";
  Bytes out;
  out.reserve(head.size() + body.size());
  out.insert(out.end(), head.begin(), head.end());
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

bool is_own_assertion(ByteView bytes) {
  constexpr std::string_view prefix = "DSSEv1 ";
  constexpr std::string_view own_types = "application/vnd.betrace.";
  auto text = as_text(bytes);
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  // The length and one blank. A reader that is lax about the number must not be fooled either.
  const auto blank = text.find(' ');
  return blank != std::string_view::npos && blank <= 20 &&
         text.substr(blank + 1).starts_with(own_types);
}

const Signer& sodium_signer() {
  static const SodiumSigner signer;
  return signer;
}

}  // namespace betrace::kms
