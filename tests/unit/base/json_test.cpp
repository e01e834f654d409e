#include "base/json.h"

#include <chrono>
#include <cmath>
#include <random>
#include <string>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <gtest/gtest.h>

#include "base/encoding.h"

namespace betrace::kms {
namespace {

std::string refusal(std::string_view text, JsonLimits limits = {}) {
  JsonDocument document;
  const auto parsed = document.parse(text, limits);
  if (parsed) return "accepted";
  EXPECT_EQ(parsed.error().code, ErrorCode::malformed_json);
  return parsed.error().message;
}

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(Json, GivesTheValuesOfADocument) {
  JsonDocument document;
  ASSERT_TRUE(document.parse(
      R"( {"s":"a\n\u20ac\ud83d\ude00","i":-12,"d":0.1,"b":true,"n":null,"a":[1,2]} )"));
  const auto& root = document.root().as_object();
  EXPECT_EQ(root.at("s").as_string(), "a\n\u20ac\U0001F600");
  EXPECT_EQ(root.at("i").as_int64(), -12);
  EXPECT_EQ(root.at("d").as_double(), 0.1);
  EXPECT_TRUE(root.at("b").as_bool());
  EXPECT_TRUE(root.at("n").is_null());
  EXPECT_EQ(root.at("a").as_array().size(), 2U);
}

TEST(Json, RefusesWhatIsNotJsonAndSaysWhere) {
  EXPECT_EQ(refusal(""), "not valid JSON at byte 0: the text is empty");
  EXPECT_EQ(refusal("{"), "not valid JSON at byte 1: it ends too early");
  EXPECT_EQ(refusal("[1,]"), "not valid JSON at byte 3: syntax error");
  EXPECT_EQ(refusal("{} x"), "not valid JSON at byte 3: more text after the value");
  for (const auto* text : {"nul", "NaN", "Infinity", "'a'", "{a:1}", "[1 /*x*/]", "01", "+1", ".5",
                           "1.", "\"\\x\"", "\"\\u12\"", "\xef\xbb\xbf{}", "{}{}", ",", "]"}) {
    EXPECT_NE(refusal(text), "accepted") << text;
  }
}

TEST(Json, RefusesAFieldThatComesTwice) {
  EXPECT_EQ(refusal(R"({"a":1,"a":2})"),
            "not valid JSON at byte 9: the same field twice in one object");
  EXPECT_EQ(refusal(R"([{"x":{"y":1,"z":{},"y":2}}])"),
            "not valid JSON at byte 22: the same field twice in one object");
  EXPECT_NE(refusal(R"({"a":1,"\u0061":2})"), "accepted");
  EXPECT_NE(refusal(R"({"":1,"":2})"), "accepted");
  EXPECT_EQ(refusal(R"({"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]})"), "accepted");
}

TEST(Json, RefusesIntegersThatADoubleCannotHold) {
  EXPECT_EQ(refusal("9007199254740991"), "accepted");
  EXPECT_EQ(refusal("-9007199254740991"), "accepted");
  for (const auto* text :
       {"9007199254740992", "-9007199254740992", "9223372036854775808", "18446744073709551616",
        "-99999999999999999999",
        // The same, however it is written: RFC 8785 would write it so.
        "9007199254740992.0", "-9.007199254740992e15", "1.5e20", "999999999999999900000e0"}) {
    EXPECT_NE(refusal(text).find("integer beyond"), std::string::npos) << text;
  }
  EXPECT_NE(refusal("1e400").find("beyond the range"), std::string::npos);
  for (const auto* text : {"1e300", "1e21", "9007199254740991.0", "4503599627370496.5"}) {
    EXPECT_EQ(refusal(text), "accepted") << text;
  }
}

TEST(Json, ReadsNumbersExactly) {
  for (const double expected : {0.1, 1.7976931348623157e308, 2.2250738585072014e-308, 5e-324,
                                9007199254740993e7, 1.2345678901234567e-7}) {
    char text[64];
    std::snprintf(text, sizeof text, "%.17e", expected);
    JsonDocument document;
    ASSERT_TRUE(document.parse(text)) << text;
    EXPECT_EQ(document.root().as_double(), expected) << text;
  }
  JsonDocument tiny;
  ASSERT_TRUE(tiny.parse("1e-400"));
  EXPECT_EQ(tiny.root().as_double(), 0.0);
}

TEST(Json, RefusesBadUtf8AndLoneSurrogates) {
  const std::string texts[] = {"\"\xff\"",
                               "\"\xc3\"",
                               "\"\xed\xa0\x80\"",
                               "\"\xe0\x80\x80\"",
                               "\"\xf4\x90\x80\x80\"",
                               "\"\xc0\xaf\"",
                               "\"\\ud800\"",
                               "\"\\ud800x\"",
                               "\"\\udc00\"",
                               "\"\\ud800\\u0041\"",
                               std::string("\"a\0\"", 4),
                               "\"\x01\"",
                               "{\"\xff\":1}"};
  for (const auto& text : texts) EXPECT_NE(refusal(text), "accepted") << hex_encode(as_bytes(text));
}

TEST(Json, BoundsDepthAndNumberOfValues) {
  EXPECT_EQ(refusal(nested(32)), "accepted");
  EXPECT_EQ(refusal(nested(33)), "not valid JSON at byte 32: nested too deeply");
  EXPECT_NE(refusal(std::string(1'000'000, '[')), "accepted");
  EXPECT_EQ(refusal("[1,2,3]", {.values_max = 4}), "accepted");
  EXPECT_NE(refusal("[1,2,3,4]", {.values_max = 4}).find("too many values"), std::string::npos);
}

TEST(Json, NeverQuotesContentInAnError) {
  const std::string canary = "CANARY0123456789";
  for (const auto& text :
       {"{\"payload\":\"" + canary, "{\"" + canary + "\":1,\"" + canary + "\":2}",
        "\"" + canary + "\" \"" + canary + "\"", canary, "\"" + canary + "\\q\""}) {
    EXPECT_EQ(refusal(text).find("CANARY"), std::string::npos) << text;
  }
}

TEST(Json, HoldsLongStringsWithEscapes) {
  std::string text = "\"";
  std::string expected;
  for (int i = 0; i < 20'000; ++i) {
    text += "ab\\/";
    expected += "ab/";
  }
  text += '"';
  JsonDocument document;
  ASSERT_TRUE(document.parse(text));
  EXPECT_EQ(document.root().as_string(), expected);
}

TEST(Json, FindsADuplicateAmongManyFieldsInTime) {
  std::string text = "{";
  for (int i = 0; i < 100'000; ++i) text += "\"field" + std::to_string(i) + "\":0,";
  text += "\"field77777\":1}";
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_NE(refusal(text).find("twice"), std::string::npos);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

// Whatever bytes come, the answer is a value of valid strings or an error with a position inside
// the text. The seed is fixed so that a failure repeats.
TEST(Json, SurvivesRandomMutations) {
  const std::string seeds[] = {
      R"({"payload":"aGVsbG8=","context":{"a":"b","c":"\u00e9\ud83d\ude00"}})",
      R"({"payloads":["AAAA","BBBB"],"n":[1,-2,3.5e10,true,false,null,{"x":[]}]})", nested(30),
      R"([9007199254740991,-9007199254740991,1e308,0.1,"\\\"\/\b\f\n\r\t"])"};
  const std::string_view alphabet = "{}[]\",:\\u0dD8eE+-.19tfn \x80\xff\xed\xc3";
  std::mt19937 random(20261123);
  std::size_t accepted = 0;
  for (int round = 0; round < 40'000; ++round) {
    auto text = seeds[random() % std::size(seeds)];
    const auto changes = 1 + random() % 4;
    for (unsigned i = 0; i < changes && !text.empty(); ++i) {
      const auto at = random() % text.size();
      const char c =
          random() % 4 == 0 ? static_cast<char>(random()) : alphabet[random() % alphabet.size()];
      switch (random() % 4) {
        case 0:
          text[at] = c;
          break;
        case 1:
          text.insert(at, 1, c);
          break;
        case 2:
          text.erase(at, 1 + random() % 5);
          break;
        default:
          text.insert(at, text.substr(at, random() % 20));
      }
    }
    JsonDocument document;
    const auto parsed = document.parse(text);
    if (!parsed) continue;
    ++accepted;
    EXPECT_TRUE(is_valid_utf8(text));
  }
  EXPECT_GT(accepted, 100U);
}

TEST(Json, WideNumbersAreAnyIntegerAndEveryDoubleExactly) {
  constexpr JsonLimits wide{.wide_numbers = true};
  JsonDocument document;
  ASSERT_TRUE(document.parse(
      "[9223372036854775807,-9223372036854775808,18446744073709551615,1e20,18446744073709551616,-0,"
      "9007199254740992.0]",
      wide));
  const auto& list = document.root().as_array();
  EXPECT_EQ(list[0].as_int64(), INT64_MAX);
  EXPECT_EQ(list[1].as_int64(), INT64_MIN);
  EXPECT_EQ(list[2].as_uint64(), UINT64_MAX);
  EXPECT_EQ(list[3].as_double(), 1e20);
  EXPECT_EQ(list[4].as_double(), 18446744073709551616.0);
  EXPECT_TRUE(std::signbit(list[5].as_double()));
  EXPECT_EQ(list[6].as_double(), 9007199254740992.0);
  EXPECT_NE(refusal("1e400", wide), "accepted");
  EXPECT_NE(refusal(R"({"a":1,"a":2})", wide), "accepted");
}

}  // namespace
}  // namespace betrace::kms
