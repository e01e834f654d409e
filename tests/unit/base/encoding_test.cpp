#include "base/encoding.h"

#include <gtest/gtest.h>

#include "base/crypto.h"

namespace betrace::kms {
namespace {

// RFC 4648, section 10.
TEST(Base64, AgreesWithTheVectorsOfRfc4648) {
  const std::pair<std::string_view, std::string_view> vectors[] = {{"", ""},
                                                                   {"f", "Zg=="},
                                                                   {"fo", "Zm8="},
                                                                   {"foo", "Zm9v"},
                                                                   {"foob", "Zm9vYg=="},
                                                                   {"fooba", "Zm9vYmE="},
                                                                   {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : vectors) {
    EXPECT_EQ(base64_encode(as_bytes(plain)), text);
    const auto decoded = base64_decode(text);
    ASSERT_TRUE(decoded) << text;
    EXPECT_EQ(as_text(*decoded), plain);
  }
}

TEST(Base64, RefusesEverythingThatIsNotTheOneEncoding) {
  for (const auto* text :
       {"Zg", "Zg=", "Zg===", "Zm8", "Z", "=", "====", "Zg==Zg==", "Zm9v\n", " Zm9v", "Zm9v YmFy",
        "Zm-v", "Zm_v", "Zh==", "Zm9=", "Zm9v!mFy", "Zm9vYg\0="}) {
    EXPECT_FALSE(base64_decode(text)) << text;
  }
}

TEST(Base64, RoundTripsEverySize) {
  for (std::size_t size = 0; size < 300; ++size) {
    Bytes bytes(size);
    random_bytes(bytes);
    const auto text = base64_encode(bytes);
    const auto url = base64url_encode(bytes);
    WipedString appended = "x";
    base64_append(bytes, appended);
    EXPECT_EQ(std::string_view(appended).substr(1), text);
    EXPECT_TRUE(std::ranges::equal(base64_decode(text).value(), bytes));
    EXPECT_TRUE(std::ranges::equal(base64url_decode(url).value(), bytes));
  }
}

TEST(Base64Url, HasNoPaddingAndItsOwnTwoDigits) {
  const Bytes bytes{0xfb, 0xff, 0xfe, 0x01};
  EXPECT_EQ(base64url_encode(bytes), "-__-AQ");
  EXPECT_FALSE(base64url_decode("-__-AQ=="));
  EXPECT_FALSE(base64url_decode("+//+AQ"));
  EXPECT_FALSE(base64url_decode("-__-AR"));
}

TEST(Hex, RoundTripsAndRefuses) {
  EXPECT_EQ(hex_encode(Bytes{0x00, 0xab, 0xff}), "00abff");
  EXPECT_EQ(hex_decode("00ABff"), (Bytes{0x00, 0xab, 0xff}));
  EXPECT_FALSE(hex_decode("abc"));
  EXPECT_FALSE(hex_decode("zz"));
}

TEST(PercentEncoding, FollowsRfc3986) {
  EXPECT_EQ(percent_decode("a%20b%2Fc+d"), "a b/c+d");
  EXPECT_FALSE(percent_decode("%2"));
  EXPECT_FALSE(percent_decode("%zz"));
  EXPECT_EQ(percent_encode("a b/c~"), "a%20b%2Fc~");
}

TEST(Text, IsShownWithoutWhatATerminalObeysOrWhatTurnsItAround) {
  EXPECT_EQ(without_controls("caf\u00e9 \u2028 \U0001f511 \u00a0"),
            "caf\u00e9 \u2028 \U0001f511 \u00a0");
  EXPECT_EQ(without_controls("a\n\x1b[2J\x7f"), "a\\x0a\\x1b[2J\\x7f");
  EXPECT_EQ(without_controls("\u009b2J\u0080"), "\\xc2\\x9b2J\\xc2\\x80");
  EXPECT_EQ(without_controls("\u202eDEIFIREV\u2069\u200f"),
            "\\xe2\\x80\\xaeDEIFIREV\\xe2\\x81\\xa9\\xe2\\x80\\x8f");
  EXPECT_EQ(without_controls("\xc2"), "\xc2");
  EXPECT_EQ(counted(1, "span") + ", " + counted(0, "span"), "1 span, 0 spans");
}

TEST(Utf8, AcceptsTextAndRefusesWhatIsNone) {
  EXPECT_TRUE(is_valid_utf8("plain, \xc3\xa9, \xe2\x82\xac, \xf0\x9f\x94\x91"));
  for (const std::string_view bad : {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
                                     "\xf4\x90\x80\x80", "\xff", "a\xc3(", "\xf0\x9f\x94"}) {
    EXPECT_FALSE(is_valid_utf8(bad)) << hex_encode(as_bytes(bad));
  }
}

TEST(UtcTime, IsReadWithAnyNumberOfDecimals) {
  const auto at = SystemTime(std::chrono::milliseconds(1'795'399'200'123));
  for (const std::string decimals : {"123", "1234", "123999999", "12300000000000000000000000001"}) {
    EXPECT_EQ(parse_utc_time("2026-11-23T02:00:00." + decimals + "Z"), at) << decimals;
  }
  EXPECT_EQ(parse_utc_time(rfc3339(at)), at);
  EXPECT_EQ(parse_utc_time("2026-11-23T01:59:60Z"), parse_utc_time("2026-11-23T02:00:00Z"));
}

TEST(UtcTime, WhatRfc3339DoesNotWriteIsRefused) {
  for (const auto* text :
       {"2026-11-23T24:00:00Z", "2026-11-23T02:60:00Z", "2026-11-23T02:00:61Z",
        "9999-12-31T99:00:00Z", "2026-11-23T-0:00:00Z", "2026-11-23T02:-0:00Z",
        "-026-11-23T02:00:00Z", "2026-11-23T02:00:00.Z", "2026-11-23T02:00:00.-00Z",
        "2026-11-23T02:00:00.123xZ", "2026-11-23T02:00:00.1234567 Z", "2026-11-23T02:00:00,1Z"}) {
    EXPECT_FALSE(parse_utc_time(text)) << text;
  }
}

}  // namespace
}  // namespace betrace::kms
