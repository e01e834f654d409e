// A clock that stands still until it is told; sleeping moves it. Thread-safe.
#pragma once

#include <atomic>

#include "betrace/kms/clock.h"

namespace betrace::kms {

class FakeClock final : public Clock {
 public:
  SystemTime now() const override {
    return SystemTime(std::chrono::milliseconds(1'763'856'000'000 + stepped_)) +
           std::chrono::floor<std::chrono::milliseconds>(elapsed());
  }
  std::chrono::steady_clock::time_point steady_now() const override {
    return std::chrono::steady_clock::time_point(std::chrono::hours(1) + elapsed());
  }
  bool sleep_for(std::chrono::milliseconds duration, std::stop_token stop) const override {
    if (stop.stop_requested()) return false;
    slept_ += duration.count();
    advance(duration);
    return true;
  }
  void advance(std::chrono::nanoseconds duration) const { elapsed_ += duration.count(); }
  // The wall clock is set anew; time as it passes does not notice.
  void step(std::chrono::milliseconds by) const { stepped_ += by.count(); }
  std::chrono::milliseconds slept() const { return std::chrono::milliseconds(slept_); }

 private:
  std::chrono::nanoseconds elapsed() const { return std::chrono::nanoseconds(elapsed_); }
  mutable std::atomic<std::int64_t> elapsed_{0};
  mutable std::atomic<std::int64_t> slept_{0};
  mutable std::atomic<std::int64_t> stepped_{0};
};

}  // namespace betrace::kms
