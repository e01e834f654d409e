#include "base/crypto.h"

#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "base/encoding.h"

namespace betrace::kms {
namespace {

TEST(Gcm, OpensWhatItSealedAndNothingElse) {
  const auto key = SecretBytes::random(aes_key_bytes);
  std::array<std::uint8_t, gcm_nonce_bytes> nonce{};
  const auto aad = as_bytes("aad");
  const auto plaintext = as_bytes("a patient's name");
  Bytes sealed(plaintext.size() + gcm_tag_bytes);
  gcm_seal(key, nonce, aad, plaintext, sealed);
  Bytes opened(plaintext.size());
  ASSERT_TRUE(gcm_open(key, nonce, aad, sealed, opened));
  EXPECT_EQ(as_text(opened), as_text(plaintext));
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    sealed[i] ^= 1;
    EXPECT_FALSE(gcm_open(key, nonce, aad, sealed, opened));
    EXPECT_EQ(opened, Bytes(opened.size(), 0)) << "a failed opening must leave nothing";
    sealed[i] ^= 1;
  }
  EXPECT_FALSE(gcm_open(key, nonce, as_bytes("aae"), sealed, opened));
  EXPECT_FALSE(gcm_open(SecretBytes::random(32), nonce, aad, sealed, opened));
}

TEST(Gcm, SealsNothingAndMuch) {
  const auto key = SecretBytes::random(aes_key_bytes);
  std::array<std::uint8_t, gcm_nonce_bytes> nonce{1};
  for (const std::size_t size : {0, 1, 15, 16, 17, 1 << 20}) {
    Bytes plaintext(size, 7), sealed(size + gcm_tag_bytes), opened(size);
    gcm_seal(key, nonce, {}, plaintext, sealed);
    ASSERT_TRUE(gcm_open(key, nonce, {}, sealed, opened));
    EXPECT_EQ(opened, plaintext);
  }
}

TEST(Gcm, ThreadsDoNotShareState) {
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      const auto key = SecretBytes::random(aes_key_bytes);
      Bytes plaintext(100, 1), sealed(116), opened(100);
      std::array<std::uint8_t, gcm_nonce_bytes> nonce{};
      for (int i = 0; i < 2000; ++i) {
        random_bytes(nonce);
        gcm_seal(key, nonce, {}, plaintext, sealed);
        ASSERT_TRUE(gcm_open(key, nonce, {}, sealed, opened));
      }
    });
  }
}

TEST(RandomBytes, AreNotRepeatedOverManyCallsAndThreads) {
  std::mutex mutex;
  std::set<std::array<std::uint8_t, 12>> seen;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 5000; ++i) {
          std::array<std::uint8_t, 12> nonce;
          random_bytes(nonce);
          const std::lock_guard lock(mutex);
          seen.insert(nonce);
        }
      });
    }
  }
  EXPECT_EQ(seen.size(), 20'000U);
}

TEST(Ed25519, PublishesTheKeyAsRfc8410Does) {
  // RFC 8410, section 10.1 and 10.3: the example's private seed and its public key.
  const auto seed = SecretBytes::copy_of(
      *hex_decode("d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842"));
  const auto key = ed25519_key_from_seed(seed);
  EXPECT_EQ(base64_encode(ed25519_spki(ed25519_public_half(key))),
            "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=");
}

TEST(Ed25519, PublicKeysAreReadInEachFormThatPeopleHave) {
  const std::string der = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
  const auto pem = "-----BEGIN PUBLIC KEY-----\n" + der + "\n-----END PUBLIC KEY-----\n";
  const auto raw = *ed25519_of_spki(*base64_decode(der));
  for (const auto& text : {der, pem, base64_encode(raw)}) {
    EXPECT_EQ(parse_ed25519_public(text), raw) << text;
  }
  const std::string x25519 = "MCowBQYDK2VuAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
  for (const auto& text : {std::string(), std::string("-----BEGIN PUBLIC KEY-----"), x25519,
                           der.substr(4), pem.substr(0, 40), "x" + der}) {
    EXPECT_FALSE(parse_ed25519_public(text)) << text;
  }
}

TEST(Dsse, EncodesAsTheSpecificationsExample) {
  const auto encoded = dsse_encode("http://example.com/HelloWorld", as_bytes("hello world"));
  EXPECT_EQ(as_text(encoded), "DSSEv1 29 http://example.com/HelloWorld 11 hello world");
}

TEST(OwnAssertions, AreToldFromOtherPayloads) {
  const auto own = [](std::string_view type) {
    return is_own_assertion(dsse_encode(type, as_bytes("{}")));
  };
  EXPECT_TRUE(own("application/vnd.betrace.compliance-span.v1+json"));
  EXPECT_TRUE(own("application/vnd.betrace."));
  EXPECT_FALSE(own("application/vnd.in-toto+json"));
  EXPECT_FALSE(is_own_assertion(as_bytes("application/vnd.betrace.x")));
  EXPECT_FALSE(is_own_assertion(as_bytes("DSSEv1 ")));
  EXPECT_FALSE(is_own_assertion({}));
  // A length that lies is refused as well: some reader may not count.
  EXPECT_TRUE(is_own_assertion(as_bytes("DSSEv1 7 application/vnd.betrace.x 2 {}")));
}

}  // namespace
}  // namespace betrace::kms
