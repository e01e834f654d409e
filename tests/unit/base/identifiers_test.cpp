#include <gtest/gtest.h>

#include "betrace/kms/clock.h"
#include "betrace/kms/key.h"
#include "betrace/kms/tenant.h"

#include "base/executor.h"

namespace betrace::kms {
namespace {

TEST(TenantId, AcceptsItsGrammarAndNothingElse) {
  for (const auto* good : {"a", "acme-corp", "7b3f1c2e-9d8a-4c55-8f21-0a1b2c3d4e5f", "a.b_c:d-e"}) {
    EXPECT_TRUE(TenantId::parse(good)) << good;
  }
  EXPECT_TRUE(TenantId::parse(std::string(128, 'x')));
  for (const auto bad : std::initializer_list<std::string_view>{
           "", "a b", "a/b", "..%2f", "a\n", "\xc3\xa9", "@service", std::string_view("a\0b", 3)}) {
    EXPECT_FALSE(TenantId::parse(bad)) << bad;
  }
  EXPECT_FALSE(TenantId::parse(std::string(129, 'x')));
}

TEST(KeyId, IsAUuidOfVersionSevenThatSortsByTime) {
  const SystemTime early(std::chrono::milliseconds(1'700'000'000'000));
  const auto first = KeyId::generate(early);
  const auto second = KeyId::generate(early + std::chrono::milliseconds(1));
  EXPECT_LT(first, second);
  EXPECT_LT(first.str(), second.str());
  EXPECT_EQ(first.str()[14], '7');
  EXPECT_NE(std::string("89ab").find(first.str()[19]), std::string::npos);
  EXPECT_EQ(KeyId::parse(first.str()), first);
}

TEST(KeyId, RefusesWhatIsNoUuid) {
  for (const auto* bad :
       {"", "x", "019383d0-7c1e-7aaa-8000-0123456789a", "019383d07c1e7aaa80000123456789ab----",
        "019383d0-7c1e-7aaa-8000-0123456789ag"}) {
    EXPECT_FALSE(KeyId::parse(bad)) << bad;
  }
}

TEST(Words, OfTypesAndStatesRoundTrip) {
  for (const auto state :
       {KeyState::active, KeyState::rotated, KeyState::revoked, KeyState::destroyed}) {
    EXPECT_EQ(parse_key_state(to_string(state)), state);
  }
  EXPECT_EQ(parse_key_type("signing"), KeyType::signing);
  EXPECT_EQ(parse_key_type("encryption"), KeyType::encryption);
  EXPECT_FALSE(parse_key_type("Signing"));
}

TEST(ThreadPool, RefusesWhatItsQueueCannotHoldAndRunsTheRest) {
  std::mutex gate;
  gate.lock();
  std::atomic<int> ran = 0;
  ThreadPool pool({.name = "test", .threads = 1, .queue_max = 3});
  std::atomic<bool> started = false;
  ASSERT_TRUE(pool.post([&] {
    started = true;
    started.notify_one();
    const std::lock_guard wait(gate);
    ++ran;
  }));
  started.wait(false);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(pool.post([&] { ++ran; }));
  EXPECT_FALSE(pool.post([&] { ++ran; }));
  gate.unlock();
  pool.stop();
  EXPECT_EQ(ran, 4);
  EXPECT_FALSE(pool.post([] {}));
}

TEST(SystemClock, WakesASleeperThatIsToldToStop) {
  std::stop_source stop;
  std::jthread sleeper(
      [&] { EXPECT_FALSE(system_clock().sleep_for(std::chrono::hours(1), stop.get_token())); });
  stop.request_stop();
}

}  // namespace
}  // namespace betrace::kms
