#include "base/compression.h"

#include <random>

#include <gtest/gtest.h>
#include <zstd.h>

namespace betrace::kms {
namespace {

constexpr std::size_t plenty = 1 << 20;

std::string zstd(std::string_view body) {
  std::string out(ZSTD_compressBound(body.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), body.data(), body.size(), 1));
  return out;
}

std::string sample(std::size_t size) {
  std::mt19937 random(3);
  std::string text;
  while (text.size() < size) text += "word" + std::to_string(random() % 1000);
  return text;
}

TEST(Compression, GivesBackWhatWasCompressed) {
  for (const std::size_t size : {0, 1, 1000, 300'000}) {
    const auto text = sample(size);
    EXPECT_EQ(decompress("gzip", gzip(text), plenty).value(), text);
    EXPECT_EQ(decompress("GZIP", gzip(text), plenty).value(), text);
    EXPECT_EQ(decompress("zstd", zstd(text), plenty).value(), text);
    EXPECT_EQ(decompress("", text, plenty).value(), text);
    EXPECT_EQ(decompress("identity", text, plenty).value(), text);
  }
}

TEST(Compression, SeveralMembersAreOneBody) {
  EXPECT_EQ(decompress("gzip", gzip("one ") + gzip("two"), plenty).value(), "one two");
  EXPECT_EQ(decompress("zstd", zstd("one ") + zstd("two"), plenty).value(), "one two");
}

TEST(Compression, WhatIsCutOffOrFollowedBySomethingIsRefused) {
  const auto text = sample(500);
  for (const auto& [encoding, whole] :
       {std::pair("gzip", gzip(text)), std::pair("zstd", zstd(text))}) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      EXPECT_FALSE(decompress(encoding, whole.substr(0, size), plenty)) << encoding << size;
    }
    EXPECT_FALSE(decompress(encoding, whole + "x", plenty)) << encoding;
  }
}

TEST(Compression, ABombIsStoppedAtTheLimit) {
  const std::string zeros(50 << 20, '\0');
  for (const auto& [encoding, bomb] :
       {std::pair("gzip", gzip(zeros)), std::pair("zstd", zstd(zeros)), std::pair("", zeros)}) {
    const auto refused = decompress(encoding, bomb, plenty);
    ASSERT_FALSE(refused) << encoding;
    EXPECT_EQ(refused.error().code, ErrorCode::payload_too_large);
  }
}

TEST(Compression, AnotherEncodingIsRefusedWithThoseThatAreAccepted) {
  const auto refused = decompress("br", "x", plenty);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            "Content-Encoding: 'br' is not accepted; gzip, zstd and identity are");
}

TEST(Compression, RandomDamageNeverCrashes) {
  std::mt19937 random(5);
  const auto text = sample(2000);
  for (const auto& [encoding, whole] :
       {std::pair("gzip", gzip(text)), std::pair("zstd", zstd(text))}) {
    for (int i = 0; i < 5000; ++i) {
      auto bad = whole;
      bad[random() % bad.size()] ^= static_cast<char>(1 << random() % 8);
      (void)decompress(encoding, bad, plenty);
    }
  }
}

}  // namespace
}  // namespace betrace::kms
