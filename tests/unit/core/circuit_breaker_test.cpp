#include "core/circuit_breaker.h"

#include <algorithm>
#include <deque>
#include <random>

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

// The contract's paragraph once more, told as plainly as possible, and a long random walk.
struct Model {
  enum State { closed, open, half_open } state = closed;
  std::deque<bool> last;
  int successes = 0, in_flight = 0, epoch = 0;
  long opened = 0;

  void to(State next, long now) {
    state = next;
    ++epoch;
    last.clear();
    successes = in_flight = 0;
    if (next == open) opened = now;
  }
  void tick(long now) {
    if (state == open && now - opened >= 5000) to(half_open, now);
  }
  bool admit(long now) {
    tick(now);
    if (state == closed) return true;
    if (state == open || in_flight >= (successes == 0 ? 1 : 3 - successes)) return false;
    ++in_flight;
    return true;
  }
  void record(int begun, bool failed, long now) {
    if (begun != epoch) return;
    if (state == closed) {
      last.push_back(failed);
      if (last.size() > 10) last.pop_front();
      if (last.size() == 10 && std::ranges::count(last, true) >= 5) to(open, now);
      return;
    }
    --in_flight;
    if (failed) {
      to(open, now);
    } else if (++successes == 3) {
      to(closed, now);
    }
  }
};

TEST_F(CircuitBreakerTest, AgreesWithTheModelOverARandomWalk) {
  std::mt19937 random(1);
  Model model;
  long now = 0;
  std::vector<std::pair<CircuitBreaker::Ticket, int>> calls;
  for (int step = 0; step < 200'000; ++step) {
    const auto choice = random() % 10;
    if (choice < 4) {
      const auto ticket = breaker.admit();
      ASSERT_EQ(ticket.has_value(), model.admit(now)) << "step " << step;
      if (ticket) calls.emplace_back(*ticket, model.epoch);
    } else if (choice < 8 && !calls.empty()) {
      const auto at = random() % calls.size();
      const bool failed = random() % 100 < 40;
      breaker.record(calls[at].first, failed ? Outcome::failure : Outcome::success);
      model.record(calls[at].second, failed, now);
      calls.erase(calls.begin() + static_cast<long>(at));
    } else {
      const auto pause = static_cast<long>(random() % 1500);
      clock.advance(milliseconds(pause));
      now += pause;
      breaker.tick();
      model.tick(now);
    }
    ASSERT_EQ(static_cast<int>(breaker.state()), static_cast<int>(model.state)) << "step " << step;
  }
}

}  // namespace
}  // namespace betrace::kms
