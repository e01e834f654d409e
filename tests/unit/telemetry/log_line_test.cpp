#include "telemetry/log_line.h"

#include <gtest/gtest.h>

namespace betrace::kms {
namespace {

using namespace std::chrono;

LogLine example() {
  return {.at = sys_days(2026y / November / 23) + 2h + 123ms,
          .level = spdlog::level::info,
          .category = "com.betrace.kms.KeyRotationScheduler",
          .thread = "rotation",
          .message = "Starting automated key rotation (age threshold: 90 days)",
          .sequence = 7};
}

std::string text_of(const LogLine& line) {
  std::string out;
  append_text_line(line, out);
  return out;
}

std::string json_of(const LogLine& line) {
  std::string out;
  append_json_line(line, out);
  return out;
}

std::string message_of(std::string_view message) {
  LogLine line = example();
  line.message = message;
  const std::string text = text_of(line);
  const std::string before = "(rotation) ";
  const auto at = text.find(before) + before.size();
  EXPECT_EQ(text.back(), '\n');
  return text.substr(at, text.size() - at - 1);
}

TEST(LogLine, IsTheOneThatTheManualShows) {
  EXPECT_EQ(text_of(example()),
            "2026-11-23 02:00:00,123 INFO  [com.betrace.kms.KeyRotationScheduler] (rotation) "
            "Starting automated key rotation (age threshold: 90 days)\n");
}

TEST(LogLine, PadsEveryLevelToFiveCharacters) {
  const std::pair<spdlog::level::level_enum, std::string> levels[] = {
      {spdlog::level::critical, "FATAL"}, {spdlog::level::err, "ERROR"},
      {spdlog::level::warn, "WARN "},     {spdlog::level::info, "INFO "},
      {spdlog::level::debug, "DEBUG"},    {spdlog::level::trace, "TRACE"}};
  for (const auto& [level, padded] : levels) {
    LogLine line = example();
    line.level = level;
    EXPECT_EQ(text_of(line).substr(0, 31), "2026-11-23 02:00:00,123 " + padded + " [");
  }
}

TEST(LogLine, MatchesTheManualsWarningAboutTheLocalAdapter) {
  LogLine line = example();
  line.level = spdlog::level::warn;
  line.message = "⚠️  Using LocalKmsAdapter - NOT FOR PRODUCTION USE";
  EXPECT_NE(text_of(line).find("⚠️  Using LocalKmsAdapter - NOT FOR PRODUCTION USE"),
            std::string::npos);
}

TEST(LogLine, RoundsTimeDownToMilliseconds) {
  LogLine line = example();
  line.at = sys_days(1969y / December / 31) + 23h + 59min + 59s + 999999us;
  EXPECT_TRUE(text_of(line).starts_with("1969-12-31 23:59:59,999 "));
}

TEST(LogLine, AMessageCannotForgeASecondLine) {
  EXPECT_EQ(message_of("a\n2026-11-23 02:00:00,123 INFO  [x] (y) forged"),
            "a\\n2026-11-23 02:00:00,123 INFO  [x] (y) forged");
  EXPECT_EQ(message_of("a\r\nb\tc"), "a\\r\\nb\\tc");
  EXPECT_EQ(message_of("a\x1b[2Jb\x7f"), "a\\u001b[2Jb\\u007f");
  EXPECT_EQ(message_of("next\u0085line\u2028separator\u2029end"),
            "next\\u0085line\\u2028separator\\u2029end");
  EXPECT_EQ(message_of("\u202eDEIFIREV\u2066\u200f"), "\\u202eDEIFIREV\\u2066\\u200f");
  EXPECT_EQ(message_of(std::string_view("a\0b", 3)), "a\\u0000b");
}

TEST(LogLine, BytesThatAreNotUtf8AreWrittenAsEscapes) {
  EXPECT_EQ(message_of("a\xff\xc3z"), "a\\xff\\xc3z");
  EXPECT_EQ(message_of("\xc0\xaf"), "\\xc0\\xaf");           // overlong
  EXPECT_EQ(message_of("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(message_of("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(message_of("ä€😀"), "ä€😀");
}

TEST(LogLine, JsonHasTheFieldsThatQuarkusWrites) {
  const std::string expected =
      R"~({"timestamp":"2026-11-23T02:00:00.123Z","sequence":7,)~"
      R"~("loggerName":"com.betrace.kms.KeyRotationScheduler","level":"INFO",)~"
      R"~("message":"Starting automated key rotation (age threshold: 90 days)",)~"
      R"~("threadName":"rotation"})~"
      "\n";
  EXPECT_EQ(json_of(example()), expected);
}

TEST(LogLine, JsonStaysJsonWhateverTheMessageHolds) {
  LogLine line = example();
  line.message = "say \"hi\"\\\n\x01\xff ä";
  EXPECT_NE(json_of(line).find(R"("message":"say \"hi\"\\\n\u0001\ufffd ä")"), std::string::npos)
      << json_of(line);
}

}  // namespace
}  // namespace betrace::kms
