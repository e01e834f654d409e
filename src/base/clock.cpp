#include "betrace/kms/clock.h"

#include <condition_variable>
#include <ctime>
#include <mutex>

namespace betrace::kms {
namespace {

class SystemClock final : public Clock {
 public:
  SystemTime now() const override {
    return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  }
  std::chrono::steady_clock::time_point steady_now() const override {
    return std::chrono::steady_clock::now();
  }
  std::chrono::steady_clock::time_point coarse_now() const override {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
    return std::chrono::steady_clock::time_point(std::chrono::seconds(time.tv_sec) +
                                                 std::chrono::nanoseconds(time.tv_nsec));
  }
  bool sleep_for(std::chrono::milliseconds duration, std::stop_token stop) const override {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    return !wake.wait_for(lock, stop, duration, [&] { return stop.stop_requested(); });
  }
};

}  // namespace

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

}  // namespace betrace::kms
