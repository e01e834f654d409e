// Cron expressions, against what Quartz 2.3.2 says (tools/make-cron-vectors).
#include "core/cron.h"

#include <charconv>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "base/encoding.h"

namespace betrace::kms {
namespace {

using std::chrono::seconds;

constexpr auto vectors = BETRACE_TEST_DATA "/cron/";

TimeZone zone(std::string_view name = "UTC") { return TimeZone::find(name).value(); }

SystemTime at(std::int64_t epoch_seconds) { return SystemTime(seconds(epoch_seconds)); }

// The fire times after `from`, as "2026-11-23T02:00:00.000Z".
std::vector<std::string> fires(std::string_view text, SystemTime from, int count,
                               std::string_view where = "UTC") {
  const auto cron = CronExpression::parse(text);
  EXPECT_TRUE(cron) << cron.error().message;
  std::vector<std::string> times;
  std::optional<SystemTime> time = from;
  while (cron && count-- > 0 && (time = cron->next_after(*time, zone(where)))) {
    times.push_back(rfc3339(*time));
  }
  return times;
}

std::string refusal(std::string_view text) {
  const auto cron = CronExpression::parse(text);
  return cron ? "accepted" : cron.error().message;
}

using Times = std::vector<std::string>;
constexpr std::int64_t november_23 = 1'795'392'000;  // 2026-11-23T00:00:00Z, a Monday

TEST(Cron, TheDefaultIsTwoInTheMorning) {
  EXPECT_EQ(fires("0 0 2 * * ?", at(november_23), 2),
            (Times{"2026-11-23T02:00:00.000Z", "2026-11-24T02:00:00.000Z"}));
}

TEST(Cron, ATimeIsNotItsOwnNext) {
  EXPECT_EQ(fires("0 0 0 * * ?", at(november_23), 1), Times{"2026-11-24T00:00:00.000Z"});
  EXPECT_EQ(fires("0 0 0 * * ?", at(november_23) - std::chrono::milliseconds(1), 1),
            Times{"2026-11-23T00:00:00.000Z"});
}

TEST(Cron, SpecialDaysOfTheMonth) {
  EXPECT_EQ(fires("0 0 0 L * ?", at(november_23), 1), Times{"2026-11-30T00:00:00.000Z"});
  EXPECT_EQ(fires("0 0 0 L-3 * ?", at(november_23), 1), Times{"2026-11-27T00:00:00.000Z"});
  EXPECT_EQ(fires("0 0 0 LW 1 ?", at(november_23), 1), Times{"2027-01-29T00:00:00.000Z"});
  EXPECT_EQ(fires("0 0 0 15W 11 ? 2026-2099", at(november_23), 1),
            Times{"2027-11-15T00:00:00.000Z"});
  EXPECT_EQ(fires("0 0 0 1W 5 ?", at(november_23), 1), Times{"2027-05-03T00:00:00.000Z"});
}

TEST(Cron, SpecialDaysOfTheWeek) {
  EXPECT_EQ(fires("0 0 0 ? * FRIL", at(november_23), 1), Times{"2026-11-27T00:00:00.000Z"});
  EXPECT_EQ(fires("0 0 0 ? * 2#1", at(november_23), 1), Times{"2026-12-07T00:00:00.000Z"});
  EXPECT_EQ(fires("0 0 0 ? * fri-mon", at(november_23), 4),
            (Times{"2026-11-27T00:00:00.000Z", "2026-11-28T00:00:00.000Z",
                   "2026-11-29T00:00:00.000Z", "2026-11-30T00:00:00.000Z"}));
}

TEST(Cron, RangesGoRoundTheEnd) {
  EXPECT_EQ(
      fires("0 0 22-1/2 ? NOV-JAN *", at(november_23), 3),
      (Times{"2026-11-23T22:00:00.000Z", "2026-11-24T00:00:00.000Z", "2026-11-24T22:00:00.000Z"}));
}

TEST(Cron, ATimeThatAClockLeavesOutIsLeftOutAndOneShownTwiceIsTheSecond) {
  // Berlin: 2027-03-28 02:00 → 03:00; 2026-10-25 03:00 → 02:00.
  const auto march_27 = at(1'806'105'600), october_24 = at(1'792'800'000);
  EXPECT_EQ(fires("0 30 2 * * ?", march_27, 2, "Europe/Berlin"),
            (Times{"2027-03-27T01:30:00.000Z", "2027-03-29T00:30:00.000Z"}));
  EXPECT_EQ(fires("0 30 2 * * ?", october_24, 2, "Europe/Berlin"),
            (Times{"2026-10-24T00:30:00.000Z", "2026-10-25T01:30:00.000Z"}));
}

TEST(Cron, WhatNeverComesIsSaidAndNotSearchedForEver) {
  EXPECT_EQ(fires("0 0 0 30 2 ?", at(november_23), 1), Times());
  EXPECT_EQ(fires("0 0 0 * * ? 2020", at(november_23), 1), Times());
  EXPECT_EQ(fires("0 0 0 ? 2 * 2024/4", at(november_23), 1), Times{"2028-02-01T00:00:00.000Z"});
}

TEST(Cron, AMistakeNamesTheField) {
  EXPECT_EQ(refusal("0 0 24 * * ?"),
            "hours '24': 24 is not from 0 to 23; accepted are 0-23 and * , - /");
  EXPECT_EQ(refusal("0 61 2 * * ?"),
            "minutes '61': 61 is not from 0 to 59; accepted are 0-59 and * , - /");
  EXPECT_TRUE(refusal("0 0 2 * FOO ?").starts_with("month 'FOO': 'FOO' is no value of it"));
  EXPECT_TRUE(refusal("0 0 2 ? * ?").starts_with("day-of-week '?': exactly one of"));
  EXPECT_TRUE(refusal("0 0 2 * * *").starts_with("day-of-month '*': exactly one of"));
  EXPECT_TRUE(refusal("0 0 2 ? * MON#6").starts_with("day-of-week 'MON#6': # is followed by"));
  EXPECT_TRUE(refusal("0/0 0 2 ? * MON").starts_with("seconds '0/0': the step after / is not"));
  EXPECT_TRUE(refusal("0 2 * * *").find("has 5 fields") != std::string::npos);
}

TEST(Cron, OffIsAWordOfTheConfiguration) {
  for (const auto* word : {"off", "OFF", "disabled"}) EXPECT_TRUE(is_cron_off(word));
  EXPECT_FALSE(is_cron_off("0 0 2 * * ?"));
  EXPECT_NE(refusal("off"), "accepted");
}

// One line of valid.txt: ZONE|START|EXPRESSION|DELTA DELTA …
std::string compare_with_quartz(const std::string& line) {
  std::istringstream parts(line);
  std::string where, start, text, word;
  std::getline(parts, where, '|');
  std::getline(parts, start, '|');
  std::getline(parts, text, '|');
  const auto cron = CronExpression::parse(text);
  if (!cron) return cron.error().message;
  auto time = at(std::stoll(start));
  while (parts >> word) {
    const auto next = cron->next_after(time, zone(where));
    if (word == "never" || word == "later") {
      const bool later = next && *next >= at(2'114'380'800);
      if (next.has_value() && !later) return "fires again: " + rfc3339(*next);
      continue;
    }
    time += seconds(std::stoll(word));
    if (!next) return "does not fire at " + rfc3339(time);
    if (*next != time) return "fires at " + rfc3339(*next) + ", Quartz at " + rfc3339(time);
  }
  return "";
}

TEST(CronVectors, FiresWhenQuartzFires) {
  std::ifstream file(std::string(vectors) + "valid.txt");
  int count = 0, different = 0;
  for (std::string line; std::getline(file, line); ++count) {
    const auto difference = compare_with_quartz(line);
    if (difference.empty()) continue;
    ++different;
    EXPECT_LT(different, 20) << line.substr(0, 120) << ": " << difference;
  }
  EXPECT_EQ(count, 5000);
  EXPECT_EQ(different, 0);
}

TEST(CronVectors, RefusesWhatQuartzRefuses) {
  std::ifstream file(std::string(vectors) + "invalid.txt");
  int count = 0;
  for (std::string line; std::getline(file, line); ++count) {
    EXPECT_FALSE(CronExpression::parse(line)) << line;
  }
  EXPECT_EQ(count, 2000);
}

}  // namespace
}  // namespace betrace::kms
