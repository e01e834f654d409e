// The share of the processor that work nobody waits for takes: all it can get while no caller uses
// keys, a twentieth of one while somebody does.
#pragma once

#include <algorithm>
#include <chrono>
#include <ctime>
#include <functional>
#include <optional>
#include <utility>

#include "betrace/kms/clock.h"

namespace betrace::kms {

// What the calling thread has had of processors since it began.
inline std::chrono::nanoseconds thread_processor_time() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

class Pace {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr int pause_for_work = 19;  // so many times as long
  // Somebody who used a key so long ago is expected to use another.
  static constexpr std::chrono::seconds lull{5};
  static constexpr std::chrono::seconds pause_max{2};

  // `uses` counts what callers did with keys and only grows. `clock` must outlive it.
  Pace(const Clock& clock, std::function<double()> uses)
      : clock_(clock), uses_(std::move(uses)), seen_(uses_()) {}

  void worked(std::chrono::nanoseconds time) { worked_ += time; }

  // How long to pause for what was worked since it was last asked.
  std::chrono::milliseconds pause() {
    const auto worked = std::exchange(worked_, {});
    if (const auto uses = uses_(); uses != seen_) {
      seen_ = uses;
      used_at_ = clock_.steady_now();
    }
    if (!used_at_ || clock_.steady_now() - *used_at_ >= lull) return {};
    return std::chrono::ceil<std::chrono::milliseconds>(
        std::min<std::chrono::nanoseconds>(worked * pause_for_work, pause_max));
  }

 private:
  const Clock& clock_;
  const std::function<double()> uses_;
  double seen_;
  std::optional<Time> used_at_;
  std::chrono::nanoseconds worked_{};
};

}  // namespace betrace::kms
