#include <string>
#include <thread>
#include <vector>

#include "api/rate_limits.h"
#include "support/api_world.h"

namespace betrace::kms {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

const auto acme = TenantId::from_store("acme");
const std::string hello = R"({"payload":"aGVsbG8="})";
const std::string path = "/api/admin/tenants/rate-limit";

std::string limit_of(int requests, const std::string& duration = "1h") {
  return R"({"tenantId":"acme","maxRequestsPerMinute":)" + std::to_string(requests) +
         R"(,"duration":")" + duration + "\"}";
}

TEST(RateLimits, SayNothingOfATenantThatIsNotLimited) {
  FakeClock clock;
  RateLimits limits(clock);
  EXPECT_FALSE(limits.take(acme));
  ASSERT_TRUE(
      limits.set(TenantId::from_store("other"), {.requests_per_minute = 1, .duration = 1h}));
  EXPECT_FALSE(limits.take(acme));
}

TEST(RateLimits, LetThroughSoManyInEachMinute) {
  FakeClock clock;
  RateLimits limits(clock);
  ASSERT_TRUE(limits.set(acme, {.requests_per_minute = 3, .duration = 1h}));
  for (int minute = 0; minute < 3; ++minute) {
    for (std::uint32_t left = 3; left-- > 0;) {
      const auto standing = limits.take(acme);
      ASSERT_TRUE(standing);
      EXPECT_FALSE(standing->refused);
      EXPECT_EQ(standing->remaining, left);
      EXPECT_EQ(standing->limit, 3U);
    }
    clock.advance(20s);
    const auto refused = limits.take(acme);
    EXPECT_TRUE(refused->refused && refused->first_refusal);
    EXPECT_EQ(refused->until_reset, 40s);
    EXPECT_EQ(refused->reset_at, clock.now() + 40s);
    EXPECT_TRUE(limits.take(acme)->refused);
    EXPECT_FALSE(limits.take(acme)->first_refusal);
    clock.advance(40s);
  }
}

TEST(RateLimits, EndOnTimeAndAreForgotten) {
  FakeClock clock;
  RateLimits limits(clock);
  EXPECT_EQ(limits.set(acme, {.requests_per_minute = 0, .duration = 90s}), clock.now() + 90s);
  clock.advance(90s - 1ms);
  const auto refused = limits.take(acme);
  EXPECT_TRUE(refused->refused);
  EXPECT_EQ(refused->until_reset, 1ms) << "no earlier minute is better";
  clock.advance(1ms);
  EXPECT_FALSE(limits.take(acme));
}

TEST(RateLimits, AResetIsNotLaterThanTheEnd) {
  FakeClock clock;
  RateLimits limits(clock);
  ASSERT_TRUE(limits.set(acme, {.requests_per_minute = 1, .duration = 10s}));
  EXPECT_EQ(limits.take(acme)->until_reset, 10s);
}

TEST(RateLimits, ANewOneTakesTheOldOnesPlaceAndZeroTimeEndsIt) {
  FakeClock clock;
  RateLimits limits(clock);
  ASSERT_TRUE(limits.set(acme, {.requests_per_minute = 0, .duration = 1h}));
  ASSERT_TRUE(limits.set(acme, {.requests_per_minute = 5, .duration = 1h}));
  EXPECT_EQ(limits.take(acme)->remaining, 4U);
  ASSERT_TRUE(limits.set(acme, {.requests_per_minute = 5, .duration = 0s}));
  EXPECT_FALSE(limits.take(acme));
}

TEST(RateLimits, AreAtMostTenThousandAtATime) {
  FakeClock clock;
  RateLimits limits(clock);
  for (std::size_t i = 0; i < RateLimits::limits_max; ++i) {
    ASSERT_TRUE(limits.set(TenantId::from_store("t" + std::to_string(i)),
                           {.requests_per_minute = 1, .duration = i == 0 ? 60s : 3600s}));
  }
  const auto refused = limits.set(acme, {.requests_per_minute = 1, .duration = 1h});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_TRUE(limits.set(TenantId::from_store("t5"), {.requests_per_minute = 2, .duration = 1h}))
      << "one that is there can be changed";
  clock.advance(60s);
  EXPECT_TRUE(limits.set(acme, {.requests_per_minute = 1, .duration = 1h})) << "one has ended";
}

TEST(RateLimits, CountEveryRequestOnceHoweverManyThreads) {
  FakeClock clock;
  RateLimits limits(clock);
  ASSERT_TRUE(limits.set(acme, {.requests_per_minute = 1000, .duration = 1h}));
  std::atomic<int> taken = 0, first = 0;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&] {
        for (int i = 0; i < 500; ++i) {
          const auto standing = limits.take(acme);
          taken += !standing->refused;
          first += standing->first_refusal;
        }
      });
    }
  }
  EXPECT_EQ(taken, 1000);
  EXPECT_EQ(first, 1);
}

class RateLimitRoute : public testing::Test {
 protected:
  RateLimitRoute() { world.keys.add_tenant("acme"); }
  ApiAnswer sign() { return world.post("/api/tenants/acme/sign", hello); }
  ApiWorld world;
};

TEST_F(RateLimitRoute, LimitsATenantAndSaysWhereItStands) {
  const auto set = world.post(path, limit_of(2));
  EXPECT_EQ(set.status, 200) << set;
  EXPECT_EQ(
      set.body,
      R"({"tenantId":"acme","maxRequestsPerMinute":2,"expiresAt":"2025-11-23T01:00:00.000Z"})");
  const auto first = sign();
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.header("X-RateLimit-Limit"), "2");
  EXPECT_EQ(first.header("X-RateLimit-Remaining"), "1");
  EXPECT_EQ(first.header("X-RateLimit-Reset"), "1763856060");
  EXPECT_EQ(world.get("/api/tenants/acme/public-keys").header("X-RateLimit-Remaining"), "0");
  world.clock.advance(15s);
  const auto refused = sign();
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.code(), "rate_limited");
  EXPECT_EQ(refused.header("Retry-After"), "45");
  EXPECT_EQ(refused.header("X-RateLimit-Limit"), "2");
  EXPECT_EQ(refused.header("X-RateLimit-Remaining"), "0");
  EXPECT_NE(refused.text("detail").find("2 requests a minute"), std::string::npos);
  world.clock.advance(45s);
  EXPECT_EQ(sign().status, 200);
}

TEST_F(RateLimitRoute, HasNoEffectOnOtherTenants) {
  world.keys.add_tenant("other");
  world.post(path, limit_of(0));
  const auto answer = world.post("/api/tenants/other/sign", hello);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("X-RateLimit-Limit"), "");
  EXPECT_EQ(sign().status, 429);
}

TEST_F(RateLimitRoute, NeverStandsInTheWayOfAnAdministrator) {
  world.post(path, limit_of(0));
  EXPECT_EQ(world.get("/api/tenants/acme").status, 200);
  EXPECT_EQ(world.post("/api/tenants/acme/rotate", "").status, 200);
  EXPECT_EQ(world.call("DELETE", "/api/tenants/acme?confirm=acme").status, 200);
}

TEST_F(RateLimitRoute, IsNotSpentByStrangers) {
  world.post(path, limit_of(1));
  for (int i = 0; i < 5; ++i) {
    const auto answer = world.raw({.method = "POST", .target = "/api/tenants/acme/sign"});
    EXPECT_EQ(answer.status, 401);
    EXPECT_EQ(answer.header("X-RateLimit-Limit"), "") << "nor told to them";
  }
  EXPECT_EQ(sign().status, 200);
}

TEST_F(RateLimitRoute, IsAuditedAndItsFirstRefusalOfAMinuteToo) {
  world.post(path, limit_of(0));
  for (int i = 0; i < 5; ++i) sign();
  world.clock.advance(61s);
  sign();
  ASSERT_EQ(world.audit.entries.size(), 3U);
  EXPECT_EQ(world.audit.entries[0].verb, "rate-limit");
  EXPECT_EQ(world.audit.entries[0].tenant, "acme");
  EXPECT_EQ(world.audit.entries[1].verb, "sign");
  EXPECT_EQ(world.audit.entries[1].outcome, "rate_limited");
  EXPECT_EQ(world.audit.entries[2].outcome, "rate_limited");
}

TEST_F(RateLimitRoute, TakesTheDurationInBothSpellings) {
  for (const auto* duration : {"1h", "60m", "3600s", "PT1H", "PT60M", "PT59M60S"}) {
    EXPECT_EQ(world.post(path, limit_of(1, duration)).text("expiresAt"), "2025-11-23T01:00:00.000Z")
        << duration;
  }
  EXPECT_EQ(world.post(path, limit_of(1, "2d")).text("expiresAt"), "2025-11-25T00:00:00.000Z");
  EXPECT_EQ(world.post(path, limit_of(1, "P1DT12H")).text("expiresAt"), "2025-11-24T12:00:00.000Z");
  EXPECT_EQ(sign().header("X-RateLimit-Limit"), "1");
  EXPECT_EQ(world.post(path, limit_of(1, "0s")).status, 200);
  EXPECT_EQ(sign().header("X-RateLimit-Limit"), "");
  for (const auto* duration :
       {"",    "1",   "h",   "1w",  "1 h",  "-1h",    "1h ",  "1.5h", "P",
        "PT",  "P1",  "PT1", "P1H", "PT1D", "PT1M1H", "P1DT", "367d", "99999999999999999999d",
        "P1Y", "P1M", "1H"}) {
    const auto answer = world.post(path, limit_of(1, duration));
    EXPECT_EQ(answer.status, 400) << duration;
    EXPECT_NE(answer.text("detail").find("'duration'"), std::string::npos) << answer;
  }
}

TEST_F(RateLimitRoute, RefusesWhatItCannotMean) {
  for (const auto* body : {"{}", "", R"({"tenantId":"acme","duration":"1h"})",
                           R"({"tenantId":"acme","maxRequestsPerMinute":-1,"duration":"1h"})",
                           R"({"tenantId":"acme","maxRequestsPerMinute":1000001,"duration":"1h"})",
                           R"({"tenantId":"acme","maxRequestsPerMinute":1.5,"duration":"1h"})",
                           R"({"tenantId":"acme","maxRequestsPerMinute":"1","duration":"1h"})",
                           R"({"tenantId":"acme","maxRequestsPerMinute":1})",
                           R"({"tenantId":"a b","maxRequestsPerMinute":1,"duration":"1h"})",
                           R"({"tenantId":"acme","maxRequestsPerMinute":1,"duration":3600})"}) {
    EXPECT_EQ(world.post(path, body).status, 400) << body;
  }
  const auto unknown =
      world.post(path, R"({"tenantId":"nobody","maxRequestsPerMinute":1,"duration":"1h"})");
  EXPECT_EQ(unknown.code(), "tenant_not_found");
  EXPECT_EQ(sign().header("X-RateLimit-Limit"), "");
}

TEST_F(RateLimitRoute, WorksWhileTheStoreIsAway) {
  world.keys.next_error = Error{.code = ErrorCode::store_unavailable, .message = "m"};
  EXPECT_EQ(world.post(path, limit_of(0)).status, 200);
  EXPECT_EQ(sign().status, 429);
}

}  // namespace
}  // namespace betrace::kms
