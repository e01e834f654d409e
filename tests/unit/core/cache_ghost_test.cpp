#include "core/cache_ghost.h"

#include <gtest/gtest.h>

#include "core/key_cache.h"
#include "support/fake_clock.h"

namespace betrace::kms {
namespace {

using std::chrono::minutes;

struct CacheGhostTest : testing::Test {
  FakeClock clock;
  // Ten keys, an hour each.
  KeyCache<int> cache{
      {.ttl = minutes(60), .max_size = 10},
      clock,
      [](const CallContext&, const CacheKey&, auto done) { done(std::make_shared<const int>(1)); }};

  void use(int tenant) {
    const auto id = TenantId::parse("t" + std::to_string(tenant)).value();
    if (cache.find(id)) return;
    cache.load(CallContext::system("test"), id, 0, [](const auto&) {});
    clock.advance(std::chrono::milliseconds(10));  // so that one was used before the other
  }
  using Served = CacheGhost::Served;
};

TEST_F(CacheGhostTest, CountsNothingForKeysThatWereNeverThere) {
  for (int i = 0; i < 100; ++i) use(i);
  EXPECT_EQ(cache.statistics().misses, 100U);
  EXPECT_EQ(cache.statistics().larger, (Served{0, 0, 0}));
  EXPECT_EQ(cache.statistics().longer, (Served{0, 0, 0}));
}

TEST_F(CacheGhostTest, SaysThatACacheOfTwiceTheSizeWouldHaveHadThem) {
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 15; ++i) use(i);
  }
  const auto seen = cache.statistics();
  EXPECT_EQ(seen.misses, 45U) << "fifteen in turn through ten places: none is ever there";
  EXPECT_EQ(seen.larger, (Served{30, 30, 30}));
  EXPECT_EQ(seen.longer, (Served{0, 0, 0}));
}

TEST_F(CacheGhostTest, TellsTwiceTheSizeFromEightTimes) {
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 60; ++i) use(i);
  }
  EXPECT_EQ(cache.statistics().larger, (Served{0, 0, 60}));
}

TEST_F(CacheGhostTest, SaysThatALongerLifeWouldHaveServed) {
  use(1);
  clock.advance(minutes(90));
  use(1);
  EXPECT_EQ(cache.statistics().longer, (Served{1, 1, 1})) << "expired where it stood";
  clock.advance(minutes(200));
  cache.sweep();
  use(1);
  EXPECT_EQ(cache.statistics().longer, (Served{1, 2, 2})) << "swept away";
  EXPECT_EQ(cache.statistics().larger, (Served{0, 0, 0}));
}

TEST_F(CacheGhostTest, BlamesNoSizeForKeysWhoseTimeWasUp) {
  for (int i = 0; i < 15; ++i) use(i);
  clock.advance(minutes(61));
  cache.sweep();
  use(0);
  EXPECT_EQ(cache.statistics().larger, (Served{0, 0, 0}));
}

TEST(CacheGhostMemory, IsBounded) {
  CacheGhost ghost(1, minutes(60));
  const CacheGhost::Time now{};
  for (std::size_t i = 0; i < 100; ++i) ghost.left(i, CacheGhost::Cause::room, now);
  ghost.missed(0, now);
  EXPECT_EQ(ghost.larger(), (CacheGhost::Served{0, 0, 0})) << "forgotten";
  ghost.missed(99, now);
  EXPECT_EQ(ghost.larger(), (CacheGhost::Served{1, 1, 1}));
}

}  // namespace
}  // namespace betrace::kms
