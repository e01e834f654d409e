#include "base/jwt.h"

#include <memory>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

template <auto Free>
struct FreedBy {
  void operator()(auto* object) const { Free(object); }
};
using Bio = std::unique_ptr<BIO, FreedBy<BIO_free_all>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, FreedBy<EVP_PKEY_free>>;
using Signing = std::unique_ptr<EVP_MD_CTX, FreedBy<EVP_MD_CTX_free>>;
using Certificate = std::unique_ptr<X509, FreedBy<X509_free>>;

constexpr int rsa_bits_min = 2048;

Bio reader(std::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Asks nobody for a passphrase.
int no_passphrase(char*, int, int, void*) { return -1; }

Result<Bytes> sign(const WipedString& private_key, std::string_view text, JwtAlgorithm algorithm) {
  const Bio bio = reader(std::string_view(private_key));
  const PrivateKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (!key || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_RSA ||
      EVP_PKEY_get_bits(key.get()) < rsa_bits_min) {
    return fail(
        ErrorCode::invalid_argument,
        "the private key is not accepted; an RSA key of 2048 bits or more in PEM, without a "
        "passphrase, is");
  }
  const Signing signing(EVP_MD_CTX_new());
  const auto bytes = as_bytes(text);
  std::size_t size = 0;
  Bytes signature;
  EVP_PKEY_CTX* options = nullptr;  // the signing's own
  if (EVP_DigestSignInit_ex(signing.get(), &options, "SHA256", nullptr, nullptr, key.get(),
                            nullptr) != 1 ||
      (algorithm == JwtAlgorithm::ps256 &&
       (EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) != 1 ||
        EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) != 1)) ||
      EVP_DigestSign(signing.get(), nullptr, &size, bytes.data(), bytes.size()) != 1) {
    return fail(ErrorCode::internal, "a signature cannot be begun");
  }
  signature.resize(size);
  if (EVP_DigestSign(signing.get(), signature.data(), &size, bytes.data(), bytes.size()) != 1) {
    return fail(ErrorCode::internal, "a signature failed");
  }
  signature.resize(size);
  return signature;
}

}  // namespace

Result<WipedString> sign_jwt(std::string_view header, std::string_view claims,
                             const WipedString& private_key, JwtAlgorithm algorithm) {
  WipedString token;
  base64url_append(as_bytes(header), token);
  token += '.';
  base64url_append(as_bytes(claims), token);
  const Bytes signature = TRY(sign(private_key, std::string_view(token), algorithm));
  token += '.';
  base64url_append(signature, token);
  return token;
}

Result<std::array<std::uint8_t, 32>> certificate_thumbprint(std::string_view pem) {
  const Bio bio = reader(pem);
  const Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
  unsigned char* der = nullptr;
  const int size = certificate ? i2d_X509(certificate.get(), &der) : -1;
  if (size <= 0) return fail(ErrorCode::invalid_argument, "there is no certificate in PEM");
  const std::unique_ptr<unsigned char, FreedBy<[](unsigned char* p) { OPENSSL_free(p); }>> held(
      der);
  return sha256({der, static_cast<std::size_t>(size)});
}

}  // namespace betrace::kms
