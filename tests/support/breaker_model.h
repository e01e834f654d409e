// What the contract's paragraph says of a breaker, told once more from its words, for tests that
// compare. Plain and slow on purpose: it keeps every result of the present period and every call
// under way and counts them anew whenever it is asked. Shares no rule with CircuitBreaker.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <ranges>
#include <vector>

#include "betrace/kms/monitor.h"

#include "core/circuit_breaker.h"

namespace betrace::kms {

class BreakerModel {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Outcome = CircuitBreaker::Outcome;
  using CallId = int;

  struct Options {
    std::int64_t volume = 10;
    std::int64_t percent = 50;  // a whole number, so that no rounding is in the model
    std::chrono::milliseconds delay{5000};
    std::int64_t threshold = 3;

    BreakerOptions of_the_product() const {
      return {.request_volume = static_cast<std::size_t>(volume),
              .failure_ratio = static_cast<double>(percent) / 100,
              .delay = delay,
              .success_threshold = static_cast<std::size_t>(threshold)};
    }
  };

  explicit BreakerModel(Options options) : options_(options) {}

  // "refuses for 5 s; then admits one probe, then two more"
  std::optional<CallId> begin(Time now) {
    timer(now);
    if (state_ == BreakerState::open) return std::nullopt;
    if (state_ == BreakerState::half_open && calls_of_this_period() >= probes_wanted()) {
      return std::nullopt;
    }
    under_way_[next_call_] = period();
    return next_call_++;
  }

  // "a result of a call begun in an earlier state counts nothing"; answers whether it counted.
  bool end(CallId call, Outcome outcome, Time now) {
    const bool of_this_period = under_way_.at(call) == period();
    under_way_.erase(call);
    if (!of_this_period || outcome == Outcome::neutral) return false;
    results_.push_back(outcome);
    if (state_ == BreakerState::half_open) {
      // "3 successes close it, one failure reopens it"
      if (std::ranges::count(results_, Outcome::failure) > 0) {
        turn(BreakerState::open, now);
      } else if (std::ranges::count(results_, Outcome::success) >= options_.threshold) {
        turn(BreakerState::closed, now);
      }
    } else if (too_many_failed()) {
      turn(BreakerState::open, now);
    }
    return true;
  }

  // "OPEN becomes HALF_OPEN by a timer"
  void timer(Time now) {
    if (state_ == BreakerState::open && now >= refuses_until()) {
      turn(BreakerState::half_open, now);
    }
  }

  BreakerState state() const { return state_; }
  Time refuses_until() const { return since_ + options_.delay; }
  // Every state it turned to, in order.
  const std::vector<BreakerState>& changes() const { return changes_; }

 private:
  std::size_t period() const { return changes_.size(); }

  std::int64_t calls_of_this_period() const {
    return std::ranges::count(under_way_ | std::views::values, period());
  }

  std::int64_t probes_wanted() const {
    const auto succeeded = std::ranges::count(results_, Outcome::success);
    return succeeded == 0 ? 1 : options_.threshold - succeeded;
  }

  // "a ring of the last 10 results; opens when it is full and 5 failed"
  bool too_many_failed() const {
    if (std::ssize(results_) < options_.volume) return false;
    const auto failed =
        std::count(results_.end() - options_.volume, results_.end(), Outcome::failure);
    return failed * 100 >= options_.percent * options_.volume;
  }

  void turn(BreakerState state, Time now) {
    state_ = state;
    since_ = now;
    results_.clear();
    changes_.push_back(state);
  }

  const Options options_;
  BreakerState state_ = BreakerState::closed;
  Time since_;                               // the present period
  std::vector<Outcome> results_;             // that counted in it
  std::map<CallId, std::size_t> under_way_;  // the period each began in
  CallId next_call_ = 0;
  std::vector<BreakerState> changes_;
};

}  // namespace betrace::kms
