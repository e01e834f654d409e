#include "base/jwt.h"

#include <memory>

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/crypto.h"
#include "base/encoding.h"

namespace betrace::kms {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

WipedString pem_of(EVP_PKEY* key) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

TEST(Jwt, IsThreePartsWhoseLastSignsTheOthers) {
  const Key key(EVP_RSA_gen(2048), EVP_PKEY_free);
  const auto token = sign_jwt(R"({"alg":"RS256"})", R"({"iss":"me"})", pem_of(key.get()));
  ASSERT_TRUE(token) << token.error().message;
  const std::string text(token->begin(), token->end());
  const auto last = text.rfind('.');
  EXPECT_EQ(text.substr(0, last), base64url_encode(as_bytes(R"({"alg":"RS256"})")) + "." +
                                      base64url_encode(as_bytes(R"({"iss":"me"})")));
  const auto signature = base64url_decode(text.substr(last + 1));
  ASSERT_TRUE(signature);
  const auto verifies = [&](std::string_view signed_text) {
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                          EVP_MD_CTX_free);
    const auto bytes = as_bytes(signed_text);
    return EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) == 1 &&
           EVP_DigestVerify(context.get(), signature->data(), signature->size(), bytes.data(),
                            bytes.size()) == 1;
  };
  EXPECT_TRUE(verifies(text.substr(0, last)));
  EXPECT_FALSE(verifies(text.substr(0, last - 1)));
}

TEST(Jwt, RefusesWhatIsNoRsaKeyOfTodayAndShowsNoneOfIt) {
  const Key weak(EVP_RSA_gen(1024), EVP_PKEY_free);
  const Key curve(EVP_EC_gen("P-256"), EVP_PKEY_free);
  for (const auto& pem :
       {WipedString("no key"), WipedString(), pem_of(weak.get()), pem_of(curve.get())}) {
    const auto token = sign_jwt("{}", "{}", pem);
    ASSERT_FALSE(token);
    EXPECT_EQ(token.error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(token.error().message,
              "the private key is not accepted; an RSA key of 2048 bits or more in PEM, without a "
              "passphrase, is");
  }
}

TEST(Jwt, TheThumbprintOfACertificateIsThatOfItsDer) {
  constexpr std::string_view pem =
      "-----BEGIN CERTIFICATE-----\n"
      "MIIBdTCCARugAwIBAgIUR0rmg/91vW+4Cb0uNGKsopCReC4wCgYIKoZIzj0EAwIw\n"
      "DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjYxODQzNDZaGA8yMTI2MTEwMjE4NDM0\n"
      "NlowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMnu\n"
      "5NoaI47F2GA7Ab7Zd7GlCVAIus1A1NQ0o9eQ/2aPwpGrrNFv4Kp7ykqNez2p5CPb\n"
      "QJuKKO2T379eG0isR8KjUzBRMB0GA1UdDgQWBBSbUli18vRU9Q2QDJQ96Q1KgTce\n"
      "PTAfBgNVHSMEGDAWgBSbUli18vRU9Q2QDJQ96Q1KgTcePTAPBgNVHRMBAf8EBTAD\n"
      "AQH/MAoGCCqGSM49BAMCA0gAMEUCIFSqn6kWJ3zX/V5qkc7RF/9SaNpep9RCGSBY\n"
      "oG2EZqatAiEAtPBq8ZE+d6KDFvBCvNVdz/0u+13ZnUqr29oaVK5IWkU=\n"
      "-----END CERTIFICATE-----\n";
  const auto thumbprint = certificate_thumbprint(pem);
  ASSERT_TRUE(thumbprint);
  EXPECT_EQ(hex_encode(*thumbprint),
            "01d23966c5760994ca73a5954aff95021a7e7a302b58547c0bc30d182727c3e3");
  EXPECT_FALSE(certificate_thumbprint("-----BEGIN CERTIFICATE-----\nAA==\n"));
}

}  // namespace
}  // namespace betrace::kms
