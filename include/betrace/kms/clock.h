// Time as a dependency, so that a test can hold it. Thread-safe.
#pragma once

#include <chrono>
#include <stop_token>

#include "betrace/kms/key.h"

namespace betrace::kms {

class Clock {
 public:
  virtual ~Clock() = default;
  // Wall-clock time, UTC.
  virtual SystemTime now() const = 0;
  virtual std::chrono::steady_clock::time_point steady_now() const = 0;
  // As steady_now(), up to 4 ms late, a quarter of the price: for expiry, not for measuring.
  virtual std::chrono::steady_clock::time_point coarse_now() const { return steady_now(); }
  // Returns early, with false, when `stop` is requested.
  virtual bool sleep_for(std::chrono::milliseconds duration, std::stop_token stop) const = 0;
};

// The machine's clock; lives as long as the process.
const Clock& system_clock();

}  // namespace betrace::kms
