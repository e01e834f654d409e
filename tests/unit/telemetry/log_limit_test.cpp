// A storm of warnings is counted, not written.
#include "telemetry/log_limit.h"

#include <gtest/gtest.h>

namespace betrace::kms {
namespace {

using spdlog::level::level_enum;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct LogLimitTest : testing::Test {
  LogLimit limit;
  LogLimit::Time now{std::chrono::hours(1)};
  std::vector<std::string> lines;

  void say(const std::string& message, level_enum level = level_enum::warn,
           const std::string& category = "c") {
    const auto verdict = limit.admit(now, category, level, message);
    for (const auto& note : verdict.before) lines.push_back(note.category + ": " + note.message);
    if (verdict.write) lines.push_back(category + ": " + message);
  }
  void expect_lines(const std::vector<std::string>& wanted) {
    EXPECT_EQ(std::exchange(lines, {}), wanted);
  }
};

TEST_F(LogLimitTest, WhatIsSaidAgainAndAgainIsToldOnceAndCounted) {
  for (int n = 0; n < 813; ++n) say("down");
  say("up");
  expect_lines({"c: down", "c: last message repeated 812 times", "c: up"});
}

TEST_F(LogLimitTest, AStormThatGoesOnIsToldOfAgainAndAgain) {
  for (int n = 0; n < 100; ++n, now += seconds(1)) say("down");
  expect_lines({"c: down", "c: last message repeated 29 times", "c: down",
                "c: last message repeated 29 times", "c: down", "c: last message repeated 29 times",
                "c: down"});
}

TEST_F(LogLimitTest, OtherCategoriesAndLinesBelowWarningDoNotMatter) {
  say("down");
  say("down", level_enum::warn, "d");
  say("tenant acme", level_enum::info);
  say("tenant acme", level_enum::info);
  say("down");
  say("down", level_enum::err);
  expect_lines({"c: down", "d: down", "c: tenant acme", "c: tenant acme",
                "c: last message repeated 1 times", "c: down"});
}

TEST_F(LogLimitTest, MoreThanSoManyDifferentOnesInASecondAreLeftOutAndCounted) {
  for (int n = 0; n < 150; ++n) say("tenant " + std::to_string(n));
  EXPECT_EQ(lines.size(), LogLimit::lines_a_second_max);
  lines.clear();
  now += seconds(1);
  say("tenant 150");
  expect_lines({"c: 50 more warnings and errors of this category within a second were left out",
                "c: tenant 150"});
}

TEST_F(LogLimitTest, WhatWasCountedIsToldAtTheEnd) {
  for (int n = 0; n < 3; ++n) say("down");
  lines.clear();
  const auto notes = limit.take_notes();
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_EQ(notes[0].message, "last message repeated 2 times");
  EXPECT_TRUE(limit.take_notes().empty());
}

TEST_F(LogLimitTest, AClockThatIsSetBackSilencesNothing) {
  say("down");
  now -= std::chrono::hours(1);
  say("down");
  expect_lines({"c: down", "c: down"});
}

}  // namespace
}  // namespace betrace::kms
