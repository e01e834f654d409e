// RFC 8032, section 7.1, through our own types.
#include <gtest/gtest.h>

#include "betrace/kms/signer.h"

#include "base/crypto.h"
#include "support/vectors.h"

namespace betrace::kms {
namespace {

using test::bytes_of;
using test::text_of;

TEST(Rfc8032, SeedGivesThePublicKey) {
  for (const auto& vector : test::vectors("rfc8032/ed25519.json")) {
    const auto key = ed25519_key_from_seed(SecretBytes::copy_of(bytes_of(vector, "seed")));
    ASSERT_EQ(key.size(), 64U);
    const ByteView half = ed25519_public_half(key);
    EXPECT_EQ(Bytes(half.begin(), half.end()), bytes_of(vector, "publicKey"))
        << text_of(vector, "name");
  }
}

TEST(Rfc8032, SignerGivesTheSignatureInOneBatch) {
  const auto vectors = test::vectors("rfc8032/ed25519.json");
  std::vector<SecretBytes> keys;
  std::vector<Bytes> messages;
  for (const auto& vector : vectors) {
    keys.push_back(ed25519_key_from_seed(SecretBytes::copy_of(bytes_of(vector, "seed"))));
    messages.push_back(bytes_of(vector, "message"));
  }
  std::vector<SignJob> jobs;
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    jobs.push_back({.key = &keys[i], .payload = messages[i]});
  }
  sodium_signer().sign(jobs);
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    EXPECT_EQ(hex_encode(jobs[i].signature), text_of(vectors[i], "signature"))
        << text_of(vectors[i], "name");
  }
}

TEST(Rfc8032, VerifyRefusesEveryFlippedBitOfASignature) {
  const auto vectors = test::vectors("rfc8032/ed25519.json");
  const Bytes key = bytes_of(vectors[2], "publicKey");
  const Bytes message = bytes_of(vectors[2], "message");
  Bytes signature = bytes_of(vectors[2], "signature");
  for (std::size_t bit = 0; bit < signature.size() * 8; ++bit) {
    signature[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    VerifyJob job{.public_key = key, .payload = message, .signature = signature, .valid = true};
    sodium_signer().verify({&job, 1});
    EXPECT_FALSE(job.valid) << "bit " << bit;
    signature[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
  }
}

TEST(Rfc8032, SubjectPublicKeyInfoIsThatOfRfc8410) {
  const auto vectors = test::vectors("rfc8032/ed25519.json");
  EXPECT_EQ(hex_encode(ed25519_spki(bytes_of(vectors[0], "publicKey"))),
            "302a300506032b6570032100"
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
}

}  // namespace
}  // namespace betrace::kms
