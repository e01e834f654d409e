// Wycheproof's vectors through our own types: what it calls invalid, we refuse.
#include <gtest/gtest.h>

#include "betrace/kms/signer.h"

#include "base/crypto.h"
#include "support/vectors.h"

namespace betrace::kms {
namespace {

using test::bytes_of;

std::string describe(const boost::json::value& vector) {
  return "vector " + boost::json::serialize(vector.at("id")) + " " +
         std::string(vector.at("comment").as_string());
}

TEST(WycheproofEd25519, SignerAgreesOnEveryVectorAlone) {
  for (const auto& vector : test::vectors("wycheproof/ed25519.json")) {
    const Bytes key = bytes_of(vector, "publicKey");
    const Bytes message = bytes_of(vector, "message");
    const Bytes signature = bytes_of(vector, "signature");
    VerifyJob job{.public_key = key, .payload = message, .signature = signature};
    sodium_signer().verify({&job, 1});
    EXPECT_EQ(job.valid, vector.at("valid").as_bool()) << describe(vector);
  }
}

TEST(WycheproofEd25519, SignerAgreesOnEveryVectorInOneBatch) {
  const auto vectors = test::vectors("wycheproof/ed25519.json");
  std::vector<std::array<Bytes, 3>> bytes;
  bytes.reserve(vectors.size());
  std::vector<VerifyJob> jobs;
  for (const auto& vector : vectors) {
    const auto& [key, message, signature] = bytes.emplace_back(std::array{
        bytes_of(vector, "publicKey"), bytes_of(vector, "message"), bytes_of(vector, "signature")});
    // A job that starts as valid must be told otherwise.
    jobs.push_back({.public_key = key, .payload = message, .signature = signature, .valid = true});
  }
  sodium_signer().verify(jobs);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    EXPECT_EQ(jobs[i].valid, vectors[i].at("valid").as_bool()) << describe(vectors[i]);
  }
}

struct Gcm {
  SecretBytes key;
  Bytes nonce, aad, plaintext, sealed;
  std::span<const std::uint8_t, gcm_nonce_bytes> nonce_span() const {
    return std::span<const std::uint8_t, gcm_nonce_bytes>(nonce);
  }
};

Gcm read_gcm(const boost::json::value& vector) {
  Gcm gcm{.key = SecretBytes::copy_of(bytes_of(vector, "key")),
          .nonce = bytes_of(vector, "nonce"),
          .aad = bytes_of(vector, "aad"),
          .plaintext = bytes_of(vector, "plaintext"),
          .sealed = bytes_of(vector, "ciphertext")};
  const Bytes tag = bytes_of(vector, "tag");
  gcm.sealed.insert(gcm.sealed.end(), tag.begin(), tag.end());
  return gcm;
}

TEST(WycheproofAesGcm, SealGivesTheCiphertextAndTagOfEveryValidVector) {
  for (const auto& vector : test::vectors("wycheproof/aes_256_gcm.json")) {
    if (!vector.at("valid").as_bool()) continue;
    const Gcm gcm = read_gcm(vector);
    Bytes sealed(gcm.plaintext.size() + gcm_tag_bytes);
    gcm_seal(gcm.key, gcm.nonce_span(), gcm.aad, gcm.plaintext, sealed);
    EXPECT_EQ(sealed, gcm.sealed) << describe(vector);
  }
}

TEST(WycheproofAesGcm, OpenAcceptsTheValidAndWipesItsOutputOnTheInvalid) {
  for (const auto& vector : test::vectors("wycheproof/aes_256_gcm.json")) {
    const Gcm gcm = read_gcm(vector);
    Bytes opened(gcm.sealed.size() - gcm_tag_bytes, 0xa5);
    const bool valid = gcm_open(gcm.key, gcm.nonce_span(), gcm.aad, gcm.sealed, opened);
    EXPECT_EQ(valid, vector.at("valid").as_bool()) << describe(vector);
    EXPECT_EQ(opened, valid ? gcm.plaintext : Bytes(opened.size())) << describe(vector);
  }
}

}  // namespace
}  // namespace betrace::kms
