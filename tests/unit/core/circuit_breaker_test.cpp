#include "core/circuit_breaker.h"

#include <gtest/gtest.h>

#include "support/fake_clock.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;
using Outcome = CircuitBreaker::Outcome;

struct CircuitBreakerTest : testing::Test {
  FakeClock clock;
  std::vector<BreakerState> changes;
  CircuitBreaker breaker{
      "kms-signing-key", {}, clock, [this](const std::string&, BreakerState state) {
        changes.push_back(state);
      }};

  void record(Outcome outcome, int times = 1) {
    for (int i = 0; i < times; ++i) breaker.record(breaker.admit().value(), outcome);
  }
  void open() { record(Outcome::failure, 10); }
};

TEST_F(CircuitBreakerTest, StaysClosedUntilTheRingIsFull) {
  record(Outcome::failure, 9);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  record(Outcome::failure);
  EXPECT_EQ(breaker.state(), BreakerState::open);
}

TEST_F(CircuitBreakerTest, OpensWhenHalfOfTheLastTenFailed) {
  record(Outcome::success, 100);
  record(Outcome::failure, 4);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  record(Outcome::failure);
  EXPECT_EQ(breaker.state(), BreakerState::open);
}

TEST_F(CircuitBreakerTest, OldFailuresLeaveTheRing) {
  record(Outcome::failure, 4);
  record(Outcome::success, 10);
  record(Outcome::failure, 4);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
}

TEST_F(CircuitBreakerTest, NeutralResultsCountNothing) {
  record(Outcome::neutral, 1000);
  record(Outcome::failure, 9);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
}

TEST_F(CircuitBreakerTest, OpenAdmitsNothingUntilTheDelayIsOver) {
  open();
  EXPECT_FALSE(breaker.admit());
  EXPECT_EQ(breaker.remaining(), milliseconds(5000));
  clock.advance(milliseconds(4999));
  EXPECT_FALSE(breaker.admit());
  clock.advance(milliseconds(1));
  EXPECT_TRUE(breaker.admit());
}

TEST_F(CircuitBreakerTest, TheTimerMakesItHalfOpenWithoutACall) {
  open();
  clock.advance(milliseconds(5000));
  breaker.tick();
  EXPECT_EQ(breaker.state(), BreakerState::half_open);
}

TEST_F(CircuitBreakerTest, HalfOpenAdmitsOneThenTwoAndClosesAfterThree) {
  open();
  clock.advance(milliseconds(5000));
  const auto first = breaker.admit();
  ASSERT_TRUE(first);
  EXPECT_FALSE(breaker.admit());
  breaker.record(*first, Outcome::success);
  const auto second = breaker.admit();
  const auto third = breaker.admit();
  ASSERT_TRUE(second && third);
  EXPECT_FALSE(breaker.admit());
  breaker.record(*second, Outcome::success);
  breaker.record(*third, Outcome::success);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  EXPECT_EQ(changes,
            (std::vector{BreakerState::open, BreakerState::half_open, BreakerState::closed}));
}

TEST_F(CircuitBreakerTest, OneFailureReopensAHalfOpenBreaker) {
  open();
  clock.advance(milliseconds(5000));
  breaker.record(breaker.admit().value(), Outcome::failure);
  EXPECT_EQ(breaker.state(), BreakerState::open);
  EXPECT_FALSE(breaker.admit());
}

TEST_F(CircuitBreakerTest, ANeutralProbeGivesItsPlaceToAnother) {
  open();
  clock.advance(milliseconds(5000));
  breaker.record(breaker.admit().value(), Outcome::neutral);
  EXPECT_TRUE(breaker.admit());
}

TEST_F(CircuitBreakerTest, AResultOfAnEarlierStateCountsNothing) {
  const auto slow = breaker.admit().value();
  open();
  clock.advance(milliseconds(5000));
  breaker.tick();
  breaker.record(slow, Outcome::failure);
  EXPECT_EQ(breaker.state(), BreakerState::half_open);
  EXPECT_TRUE(breaker.admit());
}

}  // namespace
}  // namespace betrace::kms
