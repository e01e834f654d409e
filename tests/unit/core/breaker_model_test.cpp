// A million random steps of CircuitBreaker beside the contract's paragraph (breaker_model.h): each
// admission, each state, each change told to the listener and the time left are the same.
#include "support/breaker_model.h"

#include <iterator>
#include <random>
#include <utility>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/circuit_breaker.h"
#include "support/fake_clock.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using Outcome = CircuitBreaker::Outcome;

// What the walks met: a walk that never met it has compared nothing.
struct Met {
  long refused_open = 0, refused_half_open = 0, late_results = 0, neutral_probes = 0;
  long opened = 0, half_opened = 0, closed = 0;
};

class Walk {
 public:
  Walk(BreakerModel::Options options, unsigned seed, Met& met)
      : options_(options), random_(seed), met_(met), model_(options) {}

  // The first difference, if there is one.
  std::optional<std::string> step() {
    if (below(100) == 0) weather_ = {below(101), below(30)};
    std::optional<std::string> difference;
    const auto choice = below(100);
    if (choice < 40) {
      difference = admit();
    } else if (choice < 80) {
      record();
    } else if (choice < 90) {
      clock_.advance(some_time());
    } else if (choice < 98) {
      breaker_.tick();
      model_.timer(clock_.steady_now());
    } else {
      record_all();
    }
    return difference ? difference : compare();
  }

 private:
  unsigned below(unsigned end) { return static_cast<unsigned>(random_() % end); }

  std::optional<std::string> admit() {
    if (calls_.size() >= 40) return std::nullopt;
    const auto ticket = breaker_.admit();
    const auto call = model_.begin(clock_.steady_now());
    if (ticket.has_value() != call.has_value()) {
      return fmt::format("admitted {} and not {}", ticket.has_value(), call.has_value());
    }
    if (ticket) {
      calls_.emplace_back(*ticket, *call);
    } else {
      ++(model_.state() == BreakerState::open ? met_.refused_open : met_.refused_half_open);
    }
    return std::nullopt;
  }

  void record() {
    if (calls_.empty()) return;
    const auto at = calls_.begin() + below(static_cast<unsigned>(calls_.size()));
    auto outcome = below(100) < weather_.failing ? Outcome::failure : Outcome::success;
    if (below(100) < weather_.neutral) outcome = Outcome::neutral;
    const bool probing = model_.state() == BreakerState::half_open;
    breaker_.record(at->first, outcome);
    const bool counted = model_.end(at->second, outcome, clock_.steady_now());
    if (outcome != Outcome::neutral && !counted) ++met_.late_results;
    if (outcome == Outcome::neutral && probing) ++met_.neutral_probes;
    calls_.erase(at);
  }

  void record_all() {
    while (!calls_.empty()) record();
  }

  // Often to the very edge of the delay, a nanosecond before and after it.
  nanoseconds some_time() {
    const auto to_the_edge = model_.refuses_until() - clock_.steady_now();
    if (below(2) == 0 && to_the_edge > nanoseconds(1)) {
      return to_the_edge + nanoseconds(below(3)) - nanoseconds(1);
    }
    return nanoseconds(random_()) % (nanoseconds(options_.delay) / 3);
  }

  std::optional<std::string> compare() {
    if (breaker_.state() != model_.state()) {
      return fmt::format("state {} and not {}", std::to_underlying(breaker_.state()),
                         std::to_underlying(model_.state()));
    }
    const auto& expected = model_.changes();
    if (!std::equal(told_.begin(), told_.end(), expected.begin() + compared_, expected.end())) {
      return fmt::format("{} changes were told and not {}, or others", told_.size(),
                         std::ssize(expected) - compared_);
    }
    for (const auto state : told_) {
      ++(state == BreakerState::open     ? met_.opened
         : state == BreakerState::closed ? met_.closed
                                         : met_.half_opened);
    }
    compared_ = std::ssize(expected);
    told_.clear();
    return compare_time_left();
  }

  // In whole milliseconds, the fewest after which the next probe is admitted.
  std::optional<std::string> compare_time_left() {
    const auto left = breaker_.remaining();
    const auto then = clock_.steady_now() + left;
    const bool open = model_.state() == BreakerState::open;
    const bool enough = !open || then >= model_.refuses_until();
    const bool least =
        left == milliseconds(0) || (open && then - milliseconds(1) < model_.refuses_until());
    if (enough && least) return std::nullopt;
    return fmt::format("{} ms left", left.count());
  }

  struct Weather {
    unsigned failing = 30, neutral = 10;  // percent
  };

  const BreakerModel::Options options_;
  std::mt19937 random_;
  Met& met_;
  Weather weather_;
  FakeClock clock_;
  std::vector<BreakerState> told_;
  CircuitBreaker breaker_{
      "walked", options_.of_the_product(), clock_,
      [this](const std::string&, BreakerState state) { told_.push_back(state); }};
  BreakerModel model_;
  std::ptrdiff_t compared_ = 0;
  std::vector<std::pair<CircuitBreaker::Ticket, BreakerModel::CallId>> calls_;
};

constexpr BreakerModel::Options walked[] = {
    {},  // the contract's
    {.volume = 1, .percent = 100, .delay = milliseconds(1), .threshold = 1},
    {.volume = 1, .percent = 50, .delay = milliseconds(5000), .threshold = 3},
    {.volume = 2, .percent = 50, .delay = milliseconds(700), .threshold = 3},
    {.volume = 2, .percent = 100, .delay = milliseconds(5000), .threshold = 1},
    {.volume = 10, .percent = 30, .delay = milliseconds(5000), .threshold = 1},
    {.volume = 10, .percent = 100, .delay = milliseconds(250), .threshold = 3},
    {.volume = 25, .percent = 28, .delay = milliseconds(5000), .threshold = 7},
};

TEST(BreakerModel, AMillionRandomStepsShowNoDifference) {
  constexpr unsigned seeds = 25;
  constexpr int steps = 1'000'000 / (seeds * static_cast<int>(std::size(walked)));
  for (std::size_t row = 0; row < std::size(walked); ++row) {
    Met met;
    for (unsigned seed = 0; seed < seeds; ++seed) {
      Walk walk(walked[row], seed, met);
      for (int step = 0; step < steps; ++step) {
        if (const auto difference = walk.step()) {
          FAIL() << "options " << row << ", seed " << seed << ", step " << step << ": "
                 << *difference;
        }
      }
    }
    for (const long times : {met.refused_open, met.refused_half_open, met.late_results,
                             met.neutral_probes, met.opened, met.half_opened, met.closed}) {
      EXPECT_GT(times, 20) << "options " << row;
    }
    EXPECT_GT(met.opened, met.closed) << "options " << row << ": none was reopened by a probe";
  }
}

TEST(BreakerModel, EveryPercentageOfEveryVolumeOpensAtTheSameFailure) {
  const FakeClock clock;
  for (std::int64_t volume = 1; volume <= 100; ++volume) {
    for (std::int64_t percent = 1; percent <= 100; ++percent) {
      const BreakerModel::Options options{.volume = volume, .percent = percent};
      BreakerModel model(options);
      CircuitBreaker breaker("", options.of_the_product(), clock, [](const auto&, auto) {});
      for (std::int64_t i = 0; model.state() == BreakerState::closed; ++i) {
        const auto outcome = i < volume ? Outcome::success : Outcome::failure;
        ASSERT_EQ(breaker.state(), BreakerState::closed) << volume << " at " << percent << " %";
        breaker.record(breaker.admit().value(), outcome);
        model.end(model.begin(clock.steady_now()).value(), outcome, clock.steady_now());
      }
      ASSERT_EQ(breaker.state(), BreakerState::open) << volume << " at " << percent << " %";
    }
  }
}

}  // namespace
}  // namespace betrace::kms
