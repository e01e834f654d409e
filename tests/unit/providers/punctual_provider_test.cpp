#include "providers/punctual_provider.h"

#include <atomic>
#include <functional>
#include <latch>
#include <stdexcept>

#include <gtest/gtest.h>

#include "providers/punctual_threads.h"
#include "support/fake_provider.h"

namespace betrace::kms {
namespace {

using std::chrono::microseconds;
constexpr auto no_deadline = PunctualThreads::Time::max();
PunctualThreads::Time soon() {
  return std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
}

struct Work final : PunctualThreads::Call {
  explicit Work(std::function<void()> work) : work(std::move(work)) {}
  void run() noexcept override { work(); }
  std::function<void()> work;
};
std::shared_ptr<Work> work(std::function<void()> what) {
  return std::make_shared<Work>(std::move(what));
}

TEST(Looks, WhatOneLosesIsPaidBackByCallsWithoutOne) {
  Looks looks;
  EXPECT_TRUE(looks.pay());
  looks.took(microseconds(99));
  EXPECT_TRUE(looks.pay());
  looks.took(microseconds(100));
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(looks.pay());
  EXPECT_TRUE(looks.pay());
  // Others had the core.
  looks.took(microseconds(3000));
  for (int i = 0; i < 150; ++i) EXPECT_FALSE(looks.pay());
  EXPECT_TRUE(looks.pay());
}

TEST(PunctualThreads, EachCallOfManyCallersIsMadeOnce) {
  std::atomic<int> made = 0, ended = 0;
  PunctualThreads threads("test", 16);
  {
    std::vector<std::jthread> callers;
    for (int i = 0; i < 64; ++i) {
      callers.emplace_back([&] {
        for (int n = 0; n < 200; ++n) {
          if (threads.run(work([&] { ++made; }), no_deadline)) ++ended;
        }
      });
    }
  }
  EXPECT_EQ(made, 64 * 200);
  EXPECT_EQ(ended, 64 * 200);
  EXPECT_EQ(threads.running(), 0);
}

TEST(PunctualThreads, WhatACallDidIsSeenByWhoAskedForIt) {
  PunctualThreads threads("test", 2);
  for (int n = 0; n < 5000; ++n) {
    int answer = 0;
    ASSERT_TRUE(threads.run(work([&] { answer = n; }), no_deadline));
    ASSERT_EQ(answer, n);
  }
}

TEST(PunctualThreads, ACallForWhichNoThreadComesFreeIsNotMade) {
  PunctualThreads threads("test", 1);
  std::latch release(1);
  EXPECT_FALSE(threads.run(work([&] { release.wait(); }), soon()));
  std::atomic<bool> made = false;
  EXPECT_FALSE(threads.run(work([&] { made = true; }), soon()));
  EXPECT_EQ(threads.running(), 1);
  release.count_down();
  EXPECT_TRUE(threads.run(work([] {}), no_deadline));
  EXPECT_FALSE(made);
}

TEST(PunctualProvider, WhatTheOneInsideThrowsReachesWhoAsked) {
  const auto inside = std::make_shared<FakeProvider>();
  inside->on_call([](const CallContext&) { throw std::runtime_error("its own"); });
  PunctualProvider its(inside, 2);
  EXPECT_THROW((void)its.describe_key(CallContext::system("test")), std::runtime_error);
}

}  // namespace
}  // namespace betrace::kms
