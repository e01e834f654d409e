// Against bytes that the programs gzip 1.12 and zstd 1.5 wrote.
#include "base/compression.h"

#include <random>
#include <string>

#include <gtest/gtest.h>

#include "base/encoding.h"

namespace betrace::kms {
namespace {

constexpr std::size_t plenty = 1U << 21;
constexpr std::string_view text = "compliance evidence, compliance evidence\n";

std::string bytes(std::string_view hex) { return std::string(as_text(*hex_decode(hex))); }

const std::string gzipped =
    bytes("1f8b08000000000000034bcecf2dc8c94ccc4b4e55482dcb4c4905327414923105b9001e09549b29000000");
const std::string zstandard = bytes(
    "28b52ffd2429e50000b0636f6d706c69616e63652065766964656e63652c200a010031994ceb0d"
    "082a");
const std::string second_frame = bytes("28b52ffd04583100007365636f6e6437005e4d");
const std::string skippable_frame = bytes("502a4d18020000006162");
const std::string mebibyte_of_zeros = bytes(
    "28b52ffd04585400001000000100fbff39c002020010000200100002001000020010000200100002001000030010"
    "00f13e16e1");

std::string got(std::string_view encoding, std::string_view body, std::size_t limit = plenty) {
  auto plain = decompress(encoding, body, limit);
  return plain ? *std::move(plain) : "refused: " + plain.error().message;
}

ErrorCode refusal(std::string_view encoding, std::string_view body, std::size_t limit = plenty) {
  const auto plain = decompress(encoding, body, limit);
  EXPECT_FALSE(plain) << encoding;
  return plain ? ErrorCode::internal : plain.error().code;
}

TEST(Compression, ReadsWhatOtherProgramsWrote) {
  EXPECT_EQ(got("gzip", gzipped), text);
  EXPECT_EQ(got("zstd", zstandard), text);
  EXPECT_EQ(got("zstd", mebibyte_of_zeros), std::string(1U << 20, '\0'));
}

TEST(Compression, LeavesAloneWhatIsNotCompressed) {
  EXPECT_EQ(got("", text), text);
  EXPECT_EQ(got("identity", text), text);
  EXPECT_EQ(got("", ""), "");
}

TEST(Compression, TakesTheNamesOfCodingsInEitherCase) {
  EXPECT_EQ(got("GZip", gzipped), text);
  EXPECT_EQ(got("x-gzip", gzipped), text);
  EXPECT_EQ(got("ZSTD", zstandard), text);
}

TEST(Compression, SaysWhichEncodingsItAccepts) {
  for (const std::string_view encoding : {"br", "deflate", "gzip, zstd", "gzip ", "snappy"}) {
    EXPECT_EQ(refusal(encoding, gzipped), ErrorCode::invalid_argument);
    const auto said = got(encoding, gzipped);
    EXPECT_NE(said.find(encoding), std::string::npos) << said;
    EXPECT_NE(said.find("gzip, zstd and identity"), std::string::npos) << said;
  }
}

TEST(Compression, SeveralMembersAndFramesAreOneBody) {
  EXPECT_EQ(got("gzip", gzipped + gzip("second") + gzip("")), std::string(text) + "second");
  EXPECT_EQ(got("zstd", zstandard + skippable_frame + second_frame), std::string(text) + "second");
}

TEST(Compression, RefusesWhatIsCutOffAnywhere) {
  for (std::size_t size = 0; size < gzipped.size(); ++size) {
    EXPECT_EQ(refusal("gzip", gzipped.substr(0, size)), ErrorCode::invalid_argument) << size;
  }
  for (std::size_t size = 0; size < zstandard.size(); ++size) {
    EXPECT_EQ(refusal("zstd", zstandard.substr(0, size)), ErrorCode::invalid_argument) << size;
  }
}

TEST(Compression, RefusesWhateverFollows) {
  for (const std::string_view rest : {"x", "garbage, and more of it", "\x1f\x8b"}) {
    EXPECT_EQ(refusal("gzip", gzipped + std::string(rest)), ErrorCode::invalid_argument);
    EXPECT_EQ(refusal("zstd", zstandard + std::string(rest)), ErrorCode::invalid_argument);
  }
  EXPECT_EQ(refusal("gzip", zstandard), ErrorCode::invalid_argument);
  EXPECT_EQ(refusal("zstd", gzipped), ErrorCode::invalid_argument);
}

// Both formats have a checksum here; what it does not cover (times, names) is not the text.
TEST(Compression, NoRandomEditChangesTheText) {
  std::mt19937 random(7);
  for (const auto& [encoding, whole] :
       {std::pair("gzip", &gzipped), std::pair("zstd", &zstandard)}) {
    for (int round = 0; round < 10'000; ++round) {
      auto body = *whole;
      for (auto edits = 1 + random() % 3; edits > 0; --edits) {
        body[random() % body.size()] = static_cast<char>(random());
      }
      const auto plain = decompress(encoding, body, plenty);
      if (plain) {
        EXPECT_EQ(*plain, text);
      } else {
        EXPECT_TRUE(plain.error().code == ErrorCode::invalid_argument ||
                    plain.error().code == ErrorCode::payload_too_large);
      }
    }
  }
}

TEST(Compression, EndsBombsAtTheLimit) {
  const auto bomb = gzip(std::string(1U << 20, '\0'));
  EXPECT_LT(bomb.size(), 8'000U);
  constexpr std::size_t whole = 1U << 20;
  EXPECT_EQ(refusal("gzip", bomb, whole - 1), ErrorCode::payload_too_large);
  EXPECT_EQ(got("gzip", bomb, whole).size(), whole);
  EXPECT_EQ(refusal("zstd", mebibyte_of_zeros, whole - 1), ErrorCode::payload_too_large);
  EXPECT_EQ(got("zstd", mebibyte_of_zeros, whole).size(), whole);
  EXPECT_EQ(refusal("identity", text, text.size() - 1), ErrorCode::payload_too_large);
  std::string many;
  for (int n = 0; n < 100; ++n) many += bomb;
  EXPECT_EQ(refusal("gzip", many, 10 * whole), ErrorCode::payload_too_large);
}

}  // namespace
}  // namespace betrace::kms
