#include "base/http_time.h"

#include <gtest/gtest.h>

namespace betrace::kms {
namespace {

using namespace std::chrono;

constexpr SystemTime now = sys_days(2026y / November / 23) + hours(2);

TEST(HttpTime, DatesAreReadAsHttpWritesThem) {
  EXPECT_EQ(parse_http_date("Mon, 23 Nov 2026 02:00:00 GMT"), now);
  EXPECT_EQ(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT"), SystemTime());
  EXPECT_EQ(parse_http_date("Sun, 22 Nov 2026 23:59:60 GMT"), now - hours(2)) << "a leap second";
  for (const char* text : {"", "Mon, 23 Nov 2026 02:00:00 CET", "Mon, 32 Nov 2026 02:00:00 GMT",
                           "Mon, 23 Foo 2026 02:00:00 GMT", "Mon, 23 ovD 2026 02:00:00 GMT",
                           "Mon, 2x Nov 2026 02:00:00 GMT", "Mon, 23 Nov 2026 24:00:00 GMT",
                           "Mon, 23 Nov 2026 -5:00:00 GMT", "Mon, 23 Nov 2026 02:60:00 GMT",
                           "Mon, 23 Nov 2026 02:00:61 GMT", "2026-11-23T02:00:00Z"}) {
    EXPECT_FALSE(parse_http_date(text)) << text;
  }
}

TEST(HttpTime, RetryAfterIsSecondsOrADate) {
  EXPECT_EQ(parse_retry_after("2", now), seconds(2));
  EXPECT_EQ(parse_retry_after("Mon, 23 Nov 2026 02:00:05 GMT", now), seconds(5));
  EXPECT_EQ(parse_retry_after("Mon, 23 Nov 2026 01:00:00 GMT", now), seconds(0));
  EXPECT_EQ(parse_retry_after("999999", now), hours(1));
  for (const char* text : {"", "soon", "-1", "1.5", "2 ", "99999999999"}) {
    EXPECT_EQ(parse_retry_after(text, now), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace betrace::kms
