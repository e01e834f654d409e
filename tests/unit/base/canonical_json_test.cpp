#include "base/canonical_json.h"

#include <gtest/gtest.h>

namespace betrace::kms {
namespace {

TEST(CanonicalJson, SortsAndLeavesNoSpace) {
  EXPECT_EQ(canonical_json({{"tenantId", "abc-123"}, {"keyType", "signing"}}),
            R"({"keyType":"signing","tenantId":"abc-123"})");
  EXPECT_EQ(canonical_json({}), "{}");
}

// RFC 8785, section 3.2.3: by UTF-16 code units, so U+1F600 comes before U+FB33.
TEST(CanonicalJson, SortsAsTheExampleOfRfc8785) {
  const EncryptionContext context{{"\xe2\x82\xac", "Euro Sign"},
                                  {"\r", "Carriage Return"},
                                  {"\xef\xac\xb3", "Hebrew Letter Dalet With Dagesh"},
                                  {"1", "One"},
                                  {"\xf0\x9f\x98\x80", "Emoji: Grinning Face"},
                                  {"\xc2\x80", "Control"},
                                  {"\xc3\xb6", "Latin Small Letter O With Diaeresis"}};
  EXPECT_EQ(canonical_json(context),
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\xc2\x80\":\"Control\",\"\xc3\xb6\":"
            "\"Latin Small Letter O With Diaeresis\",\"\xe2\x82\xac\":\"Euro Sign\","
            "\"\xf0\x9f\x98\x80\":\"Emoji: Grinning Face\",\"\xef\xac\xb3\":"
            "\"Hebrew Letter Dalet With Dagesh\"}");
}

TEST(CanonicalJson, EscapesOnlyWhatItMust) {
  EXPECT_EQ(canonical_json({{"k", "\b\t\n\f\r\"\\/\x01\x1f\x7f"}}),
            "{\"k\":\"\\b\\t\\n\\f\\r\\\"\\\\/\\u0001\\u001f\x7f\"}");
}

TEST(CanonicalJson, KeepsContextsApartThatJoinedTextWouldConfuse) {
  EXPECT_NE(canonical_json({{"a", "bc"}}), canonical_json({{"ab", "c"}}));
  EXPECT_NE(canonical_json({{"a", "1,b=2"}}), canonical_json({{"a", "1"}, {"b", "2"}}));
}

}  // namespace
}  // namespace betrace::kms
