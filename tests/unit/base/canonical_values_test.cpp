// RFC 8785 of whole documents and of numbers, by the vectors of its author.
#include <bit>

#include <boost/json/value.hpp>
#include <gtest/gtest.h>

#include "base/canonical_json.h"
#include "base/json.h"
#include "support/vectors.h"

namespace betrace::kms {
namespace {

std::string read_data(const std::string& name) { return test::data("rfc8785/" + name); }

std::string canonical(std::string_view text) {
  JsonDocument document;
  const auto parsed = document.parse(text);
  EXPECT_TRUE(parsed) << text;
  WipedString out;
  if (parsed) append_canonical_json(document.root(), out);
  return std::string(out);
}

TEST(CanonicalValues, ThePublishedDocumentsComeOutByteForByte) {
  for (const std::string name : {"arrays", "french", "structures", "unicode", "values", "weird"}) {
    const auto wanted = read_data("output/" + name + ".json");
    EXPECT_EQ(canonical(read_data("input/" + name + ".json")), wanted) << name;
    EXPECT_EQ(canonical(wanted), wanted) << name;
  }
}

// RFC 8785, appendix B.
TEST(CanonicalValues, ThePublishedNumbersAreWrittenAsEcmaScriptWritesThem) {
  const std::pair<std::uint64_t, const char*> numbers[] = {
      {0x0000000000000000, "0"},
      {0x8000000000000000, "0"},
      {0x0000000000000001, "5e-324"},
      {0x8000000000000001, "-5e-324"},
      {0x7fefffffffffffff, "1.7976931348623157e+308"},
      {0xffefffffffffffff, "-1.7976931348623157e+308"},
      {0x4340000000000000, "9007199254740992"},
      {0xc340000000000000, "-9007199254740992"},
      {0x4430000000000000, "295147905179352830000"},
      {0x44b52d02c7e14af5, "9.999999999999997e+22"},
      {0x44b52d02c7e14af6, "1e+23"},
      {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
      {0x444b1ae4d6e2ef4e, "999999999999999700000"},
      {0x444b1ae4d6e2ef4f, "999999999999999900000"},
      {0x444b1ae4d6e2ef50, "1e+21"},
      {0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
      {0x3eb0c6f7a0b5ed8d, "0.000001"},
      {0x41b3de4355555553, "333333333.3333332"},
      {0x41b3de4355555554, "333333333.33333325"},
      {0x41b3de4355555555, "333333333.3333333"},
      {0x41b3de4355555556, "333333333.3333334"},
      {0x41b3de4355555557, "333333333.33333343"},
      {0xbecbf647612f3696, "-0.0000033333333333333333"},
      {0x43143ff3c1cb0959, "1424953923781206.2"},
  };
  for (const auto& [bits, text] : numbers) {
    WipedString out;
    append_canonical_json(boost::json::value(std::bit_cast<double>(bits)), out);
    EXPECT_EQ(out, text);
  }
}

TEST(CanonicalValues, WhatIsEqualIsTheSameBytes) {
  EXPECT_EQ(canonical(R"( { "b" : 1.0 , "a" : [ -0 , 1e0, 100e-2, true , null ] } )"),
            R"({"a":[0,1,1,true,null],"b":1})");
  EXPECT_EQ(canonical(R"({"\u0061\u000a":"\u20AC\/\uD83D\uDE00"})"), "{\"a\\n\":\"€/😀\"}");
}

}  // namespace
}  // namespace betrace::kms
