#include "providers/json_answer.h"

#include <string>

#include <gtest/gtest.h>

namespace betrace::kms {
namespace {

TEST(JsonAnswer, FindsTextAndNumbersByPointer) {
  auto parsed = JsonAnswer::parse(R"({"a":{"b":"text","n":1.5,"i":7},"empty":"","nil":null})");
  ASSERT_TRUE(parsed);
  const JsonAnswer answer = *std::move(parsed);
  EXPECT_EQ(answer.text("/a/b"), "text");
  EXPECT_EQ(answer.number("/a/n"), 1.5);
  EXPECT_EQ(answer.number("/a/i"), 7.0);
  EXPECT_EQ(answer.text("/empty"), "");
  for (const char* absent : {"/a", "/a/n", "/a/x", "/x/y", "/nil", "nonsense"}) {
    EXPECT_FALSE(answer.text(absent)) << absent;
  }
  EXPECT_FALSE(answer.number("/a/b"));
}

TEST(JsonAnswer, OnlyAnObjectIsOne) {
  for (const char* text : {"", " ", "[]", "\"x\"", "7", "{", "{}x", "<a/>", "{\"a\":1,\"a\":2}"}) {
    EXPECT_FALSE(JsonAnswer::parse(text)) << text;
  }
  std::string deep;
  for (int i = 0; i < 40; ++i) deep += R"({"a":)";
  deep += "1" + std::string(40, '}');
  EXPECT_FALSE(JsonAnswer::parse(deep));
}

}  // namespace
}  // namespace betrace::kms
