// What was used in the last hour, from counters that only grow: samples of them, at most one a
// minute, and the difference with the oldest that is not older than an hour. Thread-safe.
#pragma once

#include <chrono>
#include <deque>
#include <mutex>

#include "core/doctor_facts.h"

namespace betrace::kms {

class UsageMeter {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // Since the start of the service.
  struct Counters {
    CacheStatistics signing, encryption;
    std::uint64_t decryptions = 0, refused_ciphertexts = 0, refused_wrappings = 0;
  };

  explicit UsageMeter(Time start) : samples_{{start, Counters{}}} {}
  void sample(Time now, const Counters& counters);
  UsageFacts since_an_hour(Time now, const Counters& counters) const;

 private:
  mutable std::mutex mutex_;
  std::deque<std::pair<Time, Counters>> samples_;
};

}  // namespace betrace::kms
