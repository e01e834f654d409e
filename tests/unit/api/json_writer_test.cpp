#include "api/json_writer.h"

#include <limits>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <gtest/gtest.h>

#include "base/encoding.h"

namespace betrace::kms {
namespace {

std::string written(std::string_view text) {
  JsonWriter out;
  out.string(text);
  return std::string(out.text());
}

TEST(JsonWriter, PutsCommasWhereTheyBelong) {
  JsonWriter out;
  out.begin_object();
  out.key("a").begin_array().integer(1).integer(-2).null().end_array();
  out.key("b").begin_object().end_object();
  out.key("c").boolean(true).text_key("d\"").verbatim("[{}]").key("e").begin_array().end_array();
  out.end_object();
  EXPECT_EQ(out.text(), R"({"a":[1,-2,null],"b":{},"c":true,"d\"":[{}],"e":[]})");
}

TEST(JsonWriter, EscapesWhatJsonMustEscape) {
  EXPECT_EQ(written("plain"), "\"plain\"");
  EXPECT_EQ(written("a\"b\\c\nd\te\x7f"), "\"a\\\"b\\\\c\\nd\\u0009e\\u007f\"");
  EXPECT_EQ(written(std::string_view("\0x", 2)), "\"\\u0000x\"");
  EXPECT_EQ(written("\u20ac \U0001F600"), "\"\u20ac \U0001F600\"");
}

TEST(JsonWriter, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(written("a\xff\xc3z"), "\"a\ufffd\ufffdz\"");
  EXPECT_EQ(written("\xed\xa0\x80"), "\"\ufffd\ufffd\ufffd\"");
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const char text[] = {static_cast<char>(first), static_cast<char>(second), '"'};
      boost::json::error_code ec;
      boost::json::parse(written({text, 3}), ec);
      ASSERT_FALSE(ec) << first << ' ' << second;
    }
  }
}

TEST(JsonWriter, WritesNumbersAsPlainDecimals) {
  JsonWriter out;
  out.begin_array().decimal(0.0042).decimal(350).decimal(0.5).decimal(1234.5678).decimal(0);
  out.integer(std::numeric_limits<std::int64_t>::min()).end_array();
  EXPECT_EQ(out.text(), "[0.004,350,0.5,1234.568,0,-9223372036854775808]");
}

TEST(JsonWriter, WritesBytesAndCiphertexts) {
  const std::uint8_t bytes[] = {0xfb, 0xff, 0x00, 0x10};
  JsonWriter out;
  out.begin_array().base64(bytes).ciphertext(bytes).base64({}).end_array();
  EXPECT_EQ(out.text(), R"(["+/8AEA==","betrace:v1:-_8AEA",""])");
}

TEST(JsonWriter, WritesTimesInRfc3339) {
  using std::chrono::milliseconds;
  EXPECT_EQ(rfc3339(SystemTime(milliseconds(0))), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(rfc3339(SystemTime(milliseconds(1'709'210'096'789))), "2024-02-29T12:34:56.789Z");
  EXPECT_EQ(rfc3339(SystemTime(milliseconds(-1))), "1969-12-31T23:59:59.999Z");
}

}  // namespace
}  // namespace betrace::kms
