// Stops calling a provider that keeps failing, and finds out by itself when it is well again.
// The semantics are MicroProfile Fault Tolerance's, with a ring of the last results:
//   closed     opens when the ring is full and failure_ratio of it failed
//   open       admits nothing for `delay`
//   half open  admits one probe, then the rest up to success_threshold; that many successes close
//              it, one failure opens it again
// A result of a call that began in an earlier state counts nothing. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "betrace/kms/clock.h"
#include "betrace/kms/monitor.h"

namespace betrace::kms {

struct BreakerOptions {
  std::size_t request_volume = 10;
  double failure_ratio = 0.5;
  std::chrono::milliseconds delay{5000};
  std::size_t success_threshold = 3;
};

class CircuitBreaker {
 public:
  // `neutral` is a result that says nothing about the provider: a bad request, a cancelled call.
  enum class Outcome : std::uint8_t { success, failure, neutral };
  using Listener = std::function<void(const std::string& name, BreakerState state)>;

  // `listener` is called once per change, in order, under the breaker's lock: it must not call
  // back.
  CircuitBreaker(std::string name, BreakerOptions options, const Clock& clock, Listener listener);

  // The right to make one call; every ticket must be given to record(). Nothing while it is open.
  using Ticket = std::uint64_t;
  std::optional<Ticket> admit();
  void record(Ticket ticket, Outcome outcome);

  // The timer: an open breaker whose delay is over becomes half open.
  void tick();

  BreakerState state() const;
  // How long until the next probe is admitted; zero unless open.
  std::chrono::milliseconds remaining() const;
  const std::string& name() const { return name_; }

 private:
  void tick_locked();
  void change(BreakerState state);
  void record_closed(bool failed);

  const std::string name_;
  const BreakerOptions options_;
  const Clock& clock_;
  const Listener listener_;

  mutable std::mutex mutex_;
  BreakerState state_ = BreakerState::closed;
  Ticket epoch_ = 0;        // of the present state
  std::vector<bool> ring_;  // true: failed
  std::size_t ring_next_ = 0;
  std::size_t failures_ = 0;
  std::size_t probes_in_flight_ = 0;
  std::size_t successes_ = 0;
  std::chrono::steady_clock::time_point opened_at_;
};

}  // namespace betrace::kms
