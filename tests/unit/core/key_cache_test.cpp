#include "core/key_cache.h"

#include <thread>

#include <gtest/gtest.h>

#include "support/fake_clock.h"

namespace betrace::kms {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using Pointer = std::shared_ptr<const int>;
using Found = KeyCache<int>::Found;

struct KeyCacheTest : testing::Test {
  FakeClock clock;
  std::vector<std::pair<CacheKey, Done<Pointer>>> loads;
  KeyCache<int> cache{{.ttl = minutes(60), .max_size = 100},
                      clock,
                      [this](const CallContext&, const CacheKey& key, auto done) {
                        loads.emplace_back(key, std::move(done));
                      }};
  const CallContext call = CallContext::system("test");

  static TenantId tenant(int i) { return TenantId::parse("t" + std::to_string(i)).value(); }
  void load(int i, std::vector<Result<Found>>* answers = nullptr, std::uint32_t version = 0) {
    cache.load(call, tenant(i), version, [answers](Result<Found> answer) {
      if (answers != nullptr) answers->push_back(std::move(answer));
    });
  }
  void answer(Result<Pointer> result) {
    auto done = std::move(loads.front().second);
    loads.erase(loads.begin());
    done(std::move(result));
  }
  void fill(int i, std::uint32_t version = 0) {
    load(i, nullptr, version);
    answer(std::make_shared<int>(i));
  }
};

TEST_F(KeyCacheTest, SecondCallerWaitsForTheFirstLoad) {
  std::vector<Result<Found>> answers;
  for (int i = 0; i < 500; ++i) load(1, &answers);
  EXPECT_EQ(loads.size(), 1U);
  EXPECT_TRUE(answers.empty());
  answer(std::make_shared<int>(7));
  ASSERT_EQ(answers.size(), 500U);
  for (const auto& each : answers) EXPECT_EQ(**each, 7);
  EXPECT_EQ(*cache.find(tenant(1)), 7);
}

TEST_F(KeyCacheTest, ErrorsReachAllWhoWaitAndAreNotKept) {
  std::vector<Result<Found>> answers;
  load(1, &answers);
  load(1, &answers);
  answer(fail(ErrorCode::kms_timeout, "slow"));
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(answers[1].error().code, ErrorCode::kms_timeout);
  load(1);
  EXPECT_EQ(loads.size(), 1U);
}

TEST_F(KeyCacheTest, AnUnknownTenantIsRememberedForASecond) {
  std::vector<Result<Found>> answers;
  load(1, &answers);
  answer(fail(ErrorCode::tenant_not_found, "none"));
  load(1, &answers);
  EXPECT_TRUE(loads.empty());
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(answers[1].error().code, ErrorCode::tenant_not_found);
  clock.advance(seconds(2));
  load(1, &answers);
  EXPECT_EQ(loads.size(), 1U);
}

TEST_F(KeyCacheTest, ATenantThatIsCreatedIsNoLongerUnknown) {
  load(1);
  answer(fail(ErrorCode::tenant_not_found, "none"));
  cache.evict(tenant(1));
  load(1);
  EXPECT_EQ(loads.size(), 1U);
}

TEST_F(KeyCacheTest, AKeyExpiresAfterItsTimeToLive) {
  fill(1);
  clock.advance(minutes(60) - seconds(1));
  EXPECT_TRUE(cache.find(tenant(1)));
  clock.advance(seconds(1));
  EXPECT_FALSE(cache.find(tenant(1)));
  cache.sweep();
  // The refresh that the late use began has not come back, and the entry is gone.
  EXPECT_EQ(cache.statistics().size, 0U);
  EXPECT_EQ(cache.statistics().evicted_expired, 1U);
}

TEST_F(KeyCacheTest, AKeyInUseIsLoadedAgainAtFourFifthsOfItsLife) {
  fill(1);
  clock.advance(minutes(47));
  EXPECT_TRUE(cache.find(tenant(1)));
  EXPECT_TRUE(loads.empty());
  clock.advance(minutes(1));
  EXPECT_TRUE(cache.find(tenant(1)));
  EXPECT_TRUE(cache.find(tenant(1)));
  ASSERT_EQ(loads.size(), 1U);
  answer(std::make_shared<int>(2));
  clock.advance(minutes(30));
  EXPECT_EQ(*cache.find(tenant(1)), 2);
}

TEST_F(KeyCacheTest, AFailedRefreshKeepsTheKeyAndTriesAgainLater) {
  fill(1);
  clock.advance(minutes(48));
  EXPECT_TRUE(cache.find(tenant(1)));
  answer(fail(ErrorCode::kms_unavailable, "down"));
  EXPECT_TRUE(cache.find(tenant(1)));
  EXPECT_TRUE(loads.empty());
  clock.advance(minutes(3));
  EXPECT_TRUE(cache.find(tenant(1)));
  EXPECT_EQ(loads.size(), 1U);
}

TEST_F(KeyCacheTest, HoldsNoMoreThanItsBound) {
  for (int i = 0; i < 1000; ++i) {
    fill(i);
    clock.advance(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(cache.statistics().size, 100U);
  EXPECT_EQ(cache.statistics().evicted_size, 900U);
}

TEST_F(KeyCacheTest, KeysInUseOutliveIdleOnes) {
  for (int i = 0; i < 50; ++i) fill(i);
  for (int i = 1000; i < 2000; ++i) {
    for (int hot = 0; hot < 50; ++hot) cache.find(tenant(hot));
    clock.advance(std::chrono::milliseconds(1));
    fill(i);
  }
  for (int hot = 0; hot < 50; ++hot) EXPECT_TRUE(cache.find(tenant(hot))) << hot;
}

TEST_F(KeyCacheTest, EvictingATenantDropsAllItsVersionsAndNoOther) {
  fill(1);
  fill(1, 3);
  fill(2);
  cache.evict(tenant(1));
  EXPECT_FALSE(cache.find(tenant(1)));
  EXPECT_FALSE(cache.find(tenant(1), 3));
  EXPECT_TRUE(cache.find(tenant(2)));
  EXPECT_EQ(cache.statistics().evicted_explicit, 2U);
}

TEST_F(KeyCacheTest, ALoadThatAnEvictionHasOvertakenBeginsAnewForThoseWhoWait) {
  std::vector<Result<Found>> answers;
  load(1, &answers);
  cache.evict(tenant(1));
  load(1, &answers);  // after the eviction: a load of its own
  ASSERT_EQ(loads.size(), 2U);
  answer(std::make_shared<int>(7));  // what was there before
  EXPECT_TRUE(answers.empty());
  ASSERT_EQ(loads.size(), 1U) << "the first caller has joined the second";
  answer(std::make_shared<int>(8));
  ASSERT_EQ(answers.size(), 2U);
  for (const auto& each : answers) EXPECT_EQ(**each, 8);
  EXPECT_EQ(*cache.find(tenant(1)), 8);
}

TEST_F(KeyCacheTest, WhatWasReadBeforeAnEvictionIsNeverAnsweredAfterIt) {
  std::vector<Result<Found>> answers;
  load(1, &answers);
  cache.evict_everything();
  answer(std::make_shared<int>(7));
  EXPECT_TRUE(answers.empty());
  ASSERT_EQ(loads.size(), 1U);
  answer(std::make_shared<int>(8));
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(**answers[0], 8);
}

TEST_F(KeyCacheTest, AKeyThatChangesWithoutEndIsRefusedRatherThanReadForEver) {
  std::vector<Result<Found>> answers;
  load(1, &answers);
  int rounds = 0;
  for (; answers.empty() && rounds < 100; ++rounds) {
    cache.evict(tenant(1));
    answer(std::make_shared<int>(rounds));
  }
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].error().code, ErrorCode::overloaded);
  EXPECT_LT(rounds, 10);
}

TEST_F(KeyCacheTest, CountsHitsAndMisses) {
  fill(1);
  for (int i = 0; i < 9; ++i) cache.find(tenant(1));
  EXPECT_EQ(cache.statistics().hits, 9U);
  EXPECT_EQ(cache.statistics().misses, 1U);
}

TEST_F(KeyCacheTest, NamesTheTenantsThatWereUsed) {
  fill(1);
  fill(2);
  clock.advance(minutes(1));
  const auto since = clock.steady_now();
  clock.advance(seconds(1));
  cache.find(tenant(2));
  EXPECT_EQ(cache.used_since(since), std::vector{tenant(2)});
}

struct StaleKeyTest : KeyCacheTest {
  KeyCache<int> kept{{.ttl = minutes(60), .max_size = 100, .stale = minutes(30)},
                     clock,
                     [this](const CallContext&, const CacheKey& key, auto done) {
                       loads.emplace_back(key, std::move(done));
                     }};
  // What a caller gets who finds nothing and asks; the provider fails with `error` if it is asked.
  Result<Found> ask(ErrorCode error = ErrorCode::kms_unavailable) {
    if (auto found = kept.find(tenant(1))) return found;
    std::optional<Result<Found>> answered;
    kept.load(call, tenant(1), 0, [&](Result<Found> found) { answered = std::move(found); });
    while (!loads.empty()) answer(fail(error, "down"));
    return *answered;
  }
  void fill_kept() {
    kept.load(call, tenant(1), 0, [](const auto&) {});
    answer(std::make_shared<int>(1));
  }
};

TEST_F(StaleKeyTest, AnOutageLeavesAKeyUsableForItsWindowAndMarked) {
  fill_kept();
  clock.advance(minutes(60));
  const auto stale = ask();
  ASSERT_TRUE(stale);
  EXPECT_TRUE(stale->stale);
  clock.advance(minutes(30) - seconds(1));
  EXPECT_TRUE(ask()->stale);
}

TEST_F(StaleKeyTest, TheWindowEndsOnTheSecond) {
  fill_kept();
  clock.advance(minutes(90) - seconds(1));
  ASSERT_TRUE(ask());
  clock.advance(seconds(1));
  EXPECT_EQ(ask().error().code, ErrorCode::kms_unavailable);
}

TEST_F(StaleKeyTest, AKeyIsNotStaleBeforeItsTime) {
  fill_kept();
  clock.advance(minutes(59));
  EXPECT_FALSE(ask()->stale);
}

TEST_F(StaleKeyTest, OnlyAnOutageOpensTheWindow) {
  fill_kept();
  clock.advance(minutes(61));
  EXPECT_EQ(ask(ErrorCode::destroyed).error().code, ErrorCode::destroyed);
}

TEST_F(StaleKeyTest, AnEvictionEndsTheWindowAtOnce) {
  fill_kept();
  clock.advance(minutes(61));
  ASSERT_TRUE(ask());
  kept.evict(tenant(1));
  EXPECT_EQ(ask().error().code, ErrorCode::kms_unavailable);
}

TEST_F(StaleKeyTest, TheProviderThatIsBackIsAskedWithinASecond) {
  fill_kept();
  clock.advance(minutes(61));
  ASSERT_TRUE(ask()->stale);
  clock.advance(seconds(1));
  kept.load(call, tenant(1), 0, [](const auto&) {});
  ASSERT_EQ(loads.size(), 1U);
  answer(std::make_shared<int>(2));
  EXPECT_EQ(*kept.find(tenant(1)), 2);
  EXPECT_FALSE(kept.find(tenant(1)).stale);
}

TEST(KeyCacheThreads, ManyThreadsFindLoadAndEvictWithoutHarm) {
  KeyCache<int> cache({.ttl = minutes(60), .max_size = 50}, system_clock(),
                      [](const CallContext&, const CacheKey& key, auto done) {
                        done(std::make_shared<const int>(std::stoi(key.tenant)));
                      });
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&cache, t] {
      for (int i = 0; i < 5000; ++i) {
        const int n = (i * 7 + t) % 100;
        const auto tenant = TenantId::parse(std::to_string(n)).value();
        if (const auto found = cache.find(tenant)) {
          ASSERT_EQ(*found, n);
        } else {
          cache.load(CallContext::system("t"), tenant, 0, [n](const auto& loaded) {
            // Overtaken by one eviction after another it gives up, and says so.
            ASSERT_TRUE(loaded ? **loaded == n : loaded.error().code == ErrorCode::overloaded);
          });
        }
        if (i % 50 == 0) cache.evict(tenant);
        if (i % 500 == 0) cache.sweep();
      }
    });
  }
  threads.clear();
  EXPECT_LE(cache.statistics().size, 50U);
}

}  // namespace
}  // namespace betrace::kms
