// A provider made safe to lean on: every attempt passes the circuit breaker and the deadline,
// transient failures are tried again within the budget, and each attempt is timed, counted and a
// span.
// Retry is outside the breaker, so every attempt counts once. A call whose deadline is over before
// it begins is kms_timeout, asks nobody and counts nothing. Thread-safe; blocks while it waits.
#pragma once

#include <chrono>
#include <functional>

#include "betrace/kms/clock.h"
#include "betrace/kms/provider.h"

#include "core/circuit_breaker.h"
#include "telemetry/metrics.h"
#include "telemetry/trace.h"

namespace betrace::kms {

struct RetryOptions {
  int max_retries = 3;
  std::chrono::milliseconds delay{100};
  std::chrono::milliseconds jitter{50};
  // The budget of the whole operation; each attempt gets what is left.
  std::chrono::milliseconds timeout{5000};
};

class GuardedProvider final : public Provider {
 public:
  // All of them must outlive this.
  GuardedProvider(Provider& inner, CircuitBreaker& breaker, RetryOptions options,
                  const Clock& clock, Metrics& metrics, const Tracer& tracer = Tracer::off());

  std::string_view name() const override { return inner_.name(); }
  std::string description() const override { return inner_.description(); }
  bool remote() const override { return inner_.remote(); }
  const Remedies* remedies() const override { return inner_.remedies(); }
  Result<DataKey> generate_data_key(const CallContext& call,
                                    const EncryptionContext& context) override;
  Result<Wrapping> encrypt(const CallContext& call, std::span<const std::uint8_t> plaintext,
                           const EncryptionContext& context) override;
  Result<SecretBytes> decrypt(const CallContext& call, const Wrapping& wrapping,
                              const EncryptionContext& context) override;
  Result<MasterKeyInfo> describe_key(const CallContext& call) override;

 private:
  template <class T, class Attempt>
  Result<T> guarded(std::string_view operation, const CallContext& call,
                    const EncryptionContext& context, Attempt attempt);
  template <class T, class Attempt>
  Result<T> attempt_once(std::string_view operation, const CallContext& call,
                         const EncryptionContext& context, Attempt& attempt);
  Span begin_span(std::string_view operation, const CallContext& call,
                  const EncryptionContext& context) const;
  std::chrono::milliseconds pause_before_retry(const Error& error, int retry) const;

  Provider& inner_;
  CircuitBreaker& breaker_;
  const RetryOptions options_;
  const Clock& clock_;
  Metrics& metrics_;
  const Tracer& tracer_;
};

// Whether the contract tries again after it: throttling, time-outs, 5xx, connection errors.
bool is_retryable(ErrorCode code);
// Whether it says that the provider is unwell.
CircuitBreaker::Outcome breaker_outcome(ErrorCode code);

}  // namespace betrace::kms
