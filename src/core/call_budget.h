// So many calls of the provider a second, for work that nobody waits for. Thread-safe.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <stop_token>

#include "betrace/kms/clock.h"

namespace betrace::kms {

class CallBudget {
 public:
  // 0 is no limit. `clock` must outlive it.
  CallBudget(const Clock& clock, std::uint64_t calls_per_second)
      : clock_(clock), per_second_(calls_per_second) {}

  // Waits until `calls` more may be made. False when `stop` is requested first.
  bool take(std::uint64_t calls, std::stop_token stop) {
    if (per_second_ == 0) return !stop.stop_requested();
    const auto now = clock_.steady_now();
    std::chrono::nanoseconds wait{};
    {
      const std::lock_guard lock(mutex_);
      const auto begin = std::max(now, free_at_);
      free_at_ = begin + std::chrono::nanoseconds(std::chrono::seconds(calls)) / per_second_;
      wait = begin - now;
    }
    return clock_.sleep_for(std::chrono::ceil<std::chrono::milliseconds>(wait), std::move(stop));
  }

 private:
  const Clock& clock_;
  const std::uint64_t per_second_;
  std::mutex mutex_;
  std::chrono::steady_clock::time_point free_at_;
};

}  // namespace betrace::kms
