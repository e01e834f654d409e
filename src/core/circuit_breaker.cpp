#include "core/circuit_breaker.h"

#include <algorithm>

namespace betrace::kms {

CircuitBreaker::CircuitBreaker(std::string name, BreakerOptions options, const Clock& clock,
                               Listener listener)
    : name_(std::move(name)), options_(options), clock_(clock), listener_(std::move(listener)) {}

std::optional<CircuitBreaker::Ticket> CircuitBreaker::admit() {
  const std::lock_guard lock(mutex_);
  tick_locked();
  if (state_ == BreakerState::open) return std::nullopt;
  if (state_ == BreakerState::half_open) {
    const auto wanted = successes_ == 0 ? 1 : options_.success_threshold - successes_;
    if (probes_in_flight_ >= wanted) return std::nullopt;
    ++probes_in_flight_;
  }
  return epoch_;
}

void CircuitBreaker::record(Ticket ticket, Outcome outcome) {
  const std::lock_guard lock(mutex_);
  if (ticket != epoch_) return;
  if (state_ == BreakerState::closed) {
    if (outcome != Outcome::neutral) record_closed(outcome == Outcome::failure);
    return;
  }
  --probes_in_flight_;
  if (outcome == Outcome::failure) {
    change(BreakerState::open);
  } else if (outcome == Outcome::success && ++successes_ == options_.success_threshold) {
    change(BreakerState::closed);
  }
}

void CircuitBreaker::record_closed(bool failed) {
  if (ring_.size() < options_.request_volume) {
    ring_.push_back(failed);
  } else {
    failures_ -= ring_[ring_next_] ? 1 : 0;
    ring_[ring_next_] = failed;
    ring_next_ = (ring_next_ + 1) % ring_.size();
  }
  failures_ += failed ? 1 : 0;
  if (ring_.size() < options_.request_volume) return;
  // Divided, not multiplied: 0.28 × 25 is above 7 in doubles, 7 ÷ 25 is the very double 0.28.
  const auto volume = static_cast<double>(options_.request_volume);
  if (static_cast<double>(failures_) / volume >= options_.failure_ratio) {
    change(BreakerState::open);
  }
}

void CircuitBreaker::tick() {
  const std::lock_guard lock(mutex_);
  tick_locked();
}

void CircuitBreaker::tick_locked() {
  if (state_ == BreakerState::open && clock_.steady_now() - opened_at_ >= options_.delay) {
    change(BreakerState::half_open);
  }
}

void CircuitBreaker::change(BreakerState state) {
  state_ = state;
  ++epoch_;
  ring_.clear();
  ring_next_ = failures_ = probes_in_flight_ = successes_ = 0;
  if (state == BreakerState::open) opened_at_ = clock_.steady_now();
  listener_(name_, state);
}

BreakerState CircuitBreaker::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

std::chrono::milliseconds CircuitBreaker::remaining() const {
  const std::lock_guard lock(mutex_);
  if (state_ != BreakerState::open) return {};
  const auto left = opened_at_ + options_.delay - clock_.steady_now();
  return std::max(std::chrono::ceil<std::chrono::milliseconds>(left), std::chrono::milliseconds(0));
}

}  // namespace betrace::kms
