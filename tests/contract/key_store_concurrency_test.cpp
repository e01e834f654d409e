// What a KeyStore does when many threads use it at once.
#include <algorithm>
#include <atomic>
#include <latch>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "contract/key_store_fixture.h"

namespace betrace::kms::testing {
namespace {

class KeyStoreConcurrency : public KeyStoreContract {
 protected:
  static constexpr int threads = 32;

  // Runs `work(number)` on every thread, all begun at once.
  template <class Work>
  static void together(Work work) {
    std::latch start(threads);
    std::vector<std::jthread> running;
    for (int number = 0; number < threads; ++number) {
      running.emplace_back([&, number] {
        start.arrive_and_wait();
        work(number);
      });
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Stores, KeyStoreConcurrency, ::testing::ValuesIn(store_kinds), store_name);

TEST_P(KeyStoreConcurrency, ManyThreadsCreateRotateAndReadWithoutLosingAnything) {
  std::atomic<int> failures = 0;
  together([&](int number) {
    for (int i = 0; i < 8; ++i) {
      const auto tenant = tenant_id(fmt::format("t{}.{}", number, i));
      const auto record = tenant_record(tenant.str());
      if (!store().create_tenant(call_, record, both_keys(tenant))) ++failures;
      if (!rotate(store(), call_, both_keys(tenant, 2))) ++failures;
      const auto key = store().find_active_key(call_, tenant, KeyType::encryption);
      if (!key || key->version != 2) ++failures;
    }
  });
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(store().counts(call_)->tenants, threads * 8U);
  EXPECT_EQ(store().list_tenants(call_, {.after = "", .limit = 1'000})->size(), threads * 8U);
}

TEST_P(KeyStoreConcurrency, OfManyCreationsOfOneTenantOneSucceeds) {
  std::atomic<int> created = 0, existed = 0;
  together([&](int) {
    const auto done =
        store().create_tenant(call_, tenant_record("one"), both_keys(tenant_id("one")));
    if (done) ++created;
    if (!done && done.error().code == ErrorCode::already_exists) ++existed;
  });
  EXPECT_EQ(created, 1);
  EXPECT_EQ(existed, threads - 1);
}

TEST_P(KeyStoreConcurrency, OfTwoRotationsOfOneVersionOneConflicts) {
  create("one");
  for (std::uint32_t version = 2; version < 12; ++version) {
    std::atomic<int> rotated = 0, conflicts = 0;
    const auto rotate_once = [&] {
      const auto done = rotate(store(), call_, both_keys(tenant_id("one"), version));
      if (done) ++rotated;
      if (!done && done.error().code == ErrorCode::conflict) ++conflicts;
    };
    {
      const std::jthread first(rotate_once), second(rotate_once);
    }
    EXPECT_EQ(rotated, 1);
    EXPECT_EQ(conflicts, 1);
  }
  EXPECT_EQ(store().list_keys(call_, tenant_id("one"))->size(), 22U);
}

TEST_P(KeyStoreConcurrency, ReservedRangesNeverOverlap) {
  std::mutex mutex;
  std::set<std::uint64_t> firsts;
  together([&](int) {
    for (int i = 0; i < 8; ++i) {
      const auto first = store().reserve(call_, "nonces", 100, 1'000'000);
      const std::lock_guard lock(mutex);
      if (first) firsts.insert(*first);
    }
  });
  EXPECT_EQ(firsts.size(), threads * 8U);
  EXPECT_EQ(*firsts.begin(), 0U);
  EXPECT_EQ(*firsts.rbegin(), (threads * 8U - 1) * 100);
  EXPECT_TRUE(std::ranges::all_of(firsts, [](auto first) { return first % 100 == 0; }));
}

TEST_P(KeyStoreConcurrency, AFollowerOfChangesMissesNone) {
  std::atomic<bool> writing = true;
  std::set<std::string> seen;
  const auto follow = [&](std::uint64_t& at) {
    const auto changes = store().changes_since(call_, at);
    if (!changes) return;
    EXPECT_FALSE(changes->everything);
    EXPECT_GE(changes->generation, at);
    at = changes->generation;
    for (const auto& tenant : changes->tenants) seen.insert(tenant.str());
  };
  {
    const std::jthread follower([&] {
      std::uint64_t at = 0;
      while (writing) follow(at);
      follow(at);
    });
    together([&](int number) {
      for (int i = 0; i < 8; ++i) create(fmt::format("t{}.{}", number, i));
    });
    writing = false;
  }
  EXPECT_EQ(seen.size(), threads * 8U);
}

}  // namespace
}  // namespace betrace::kms::testing
