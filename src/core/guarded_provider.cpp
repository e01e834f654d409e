#include "core/guarded_provider.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/crypto.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

spdlog::logger& log() {
  static auto& instance = logger(log_category::kms);
  return instance;
}

// Uniform in ± jitter.
std::chrono::milliseconds jittered(std::chrono::milliseconds around,
                                   std::chrono::milliseconds jitter) {
  std::array<std::uint8_t, 4> bytes;
  random_bytes(bytes);
  const auto random = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | (bytes[3] & 0x7f) << 24;
  const auto offset = random % (2 * jitter.count() + 1) - jitter.count();
  return std::max(around + std::chrono::milliseconds(offset), std::chrono::milliseconds(0));
}

}  // namespace

bool is_retryable(ErrorCode code) {
  return code == ErrorCode::kms_unavailable || code == ErrorCode::kms_timeout;
}

CircuitBreaker::Outcome breaker_outcome(ErrorCode code) {
  using enum ErrorCode;
  switch (code) {
    case kms_access_denied:
    case kms_key_disabled:
    case kms_unavailable:
    case kms_timeout:
      return CircuitBreaker::Outcome::failure;
    // They say something about the request, not about the provider. A new code must choose.
    case invalid_argument:
    case malformed_json:
    case reserved_payload:
    case invalid_ciphertext:
    case unauthenticated:
    case permission_denied:
    case not_found:
    case tenant_not_found:
    case key_not_found:
    case method_not_allowed:
    case request_timeout:
    case conflict:
    case rotation_running:
    case already_exists:
    case destroyed:
    case payload_too_large:
    case header_too_large:
    case rate_limited:
    case internal:
    case corrupt:
    case not_implemented:
    case circuit_open:
    case wrapped_elsewhere:
    case overloaded:
    case store_unavailable:
      return CircuitBreaker::Outcome::neutral;
  }
  return CircuitBreaker::Outcome::neutral;
}

GuardedProvider::GuardedProvider(Provider& inner, CircuitBreaker& breaker, RetryOptions options,
                                 const Clock& clock, Metrics& metrics, const Tracer& tracer)
    : inner_(inner),
      breaker_(breaker),
      options_(options),
      clock_(clock),
      metrics_(metrics),
      tracer_(tracer) {}

// Its context is the service's own, tenant and key type, never the caller's.
Span GuardedProvider::begin_span(std::string_view operation, const CallContext& call,
                                 const EncryptionContext& context) const {
  if (!tracer_.on()) return {};
  auto span = tracer_.start("kms." + std::string(operation),
                            inner_.remote() ? SpanKind::client : SpanKind::internal, call.trace);
  span.set("kms.provider", inner_.name());
  for (const auto& [field, attribute] :
       {std::pair("tenantId", "tenant.id"), std::pair("keyType", "key.type")}) {
    if (const auto found = context.find(field); found != context.end()) {
      span.set(attribute, found->second);
    }
  }
  return span;
}

template <class T, class Attempt>
Result<T> GuardedProvider::attempt_once(std::string_view operation, const CallContext& call,
                                        const EncryptionContext& context, Attempt& attempt) {
  const auto ticket = breaker_.admit();
  if (!ticket) {
    metrics_.errors(operation, ErrorCode::circuit_open).Increment();
    Error error{.code = ErrorCode::circuit_open,
                .message = "Circuit breaker '" + breaker_.name() + "' is OPEN: the KMS provider '" +
                           std::string(inner_.name()) + "' kept failing and is not being called"};
    error.retry_after = breaker_.remaining();
    return std::unexpected(std::move(error));
  }
  auto span = begin_span(operation, call, context);
  const auto begun = clock_.steady_now();
  Result<T> result = [&] {
    try {
      if (!span.recording()) return attempt(call);
      CallContext traced = call;
      traced.trace = span.context();
      return attempt(traced);
    } catch (...) {
      // A probe that is never given back would keep a half-open breaker waiting for ever.
      breaker_.record(*ticket, CircuitBreaker::Outcome::neutral);
      throw;
    }
  }();
  const auto took = clock_.steady_now() - begun;
  metrics_.operation_seconds(inner_.name(), operation)
      .Observe(std::chrono::duration<double>(took).count());
  if (!result) span.fail(result.error().message);
  span.end();
  if (result) {
    breaker_.record(*ticket, CircuitBreaker::Outcome::success);
    return result;
  }
  const bool cancelled = call.cancelled.stop_requested();
  breaker_.record(
      *ticket, cancelled ? CircuitBreaker::Outcome::neutral : breaker_outcome(result.error().code));
  metrics_.errors(operation, result.error().code).Increment();
  log().warn("KmsException: {} (operation={}, provider={}, error={})", result.error().message,
             operation, inner_.name(), to_string(result.error().code));
  return result;
}

std::chrono::milliseconds GuardedProvider::pause_before_retry(const Error& error, int retry) const {
  const auto base = error.throttled ? options_.delay * (1 << std::min(retry, 10)) : options_.delay;
  const auto pause = jittered(base, options_.jitter);
  return std::max(pause, error.retry_after.value_or(std::chrono::milliseconds(0)));
}

template <class T, class Attempt>
Result<T> GuardedProvider::guarded(std::string_view operation, const CallContext& call,
                                   const EncryptionContext& context, Attempt attempt) {
  CallContext budgeted = call;
  budgeted.deadline = std::min(call.deadline, clock_.steady_now() + options_.timeout);
  if (clock_.steady_now() >= budgeted.deadline) {
    // It waited too long on our side, which says nothing about the provider.
    metrics_.errors(operation, ErrorCode::kms_timeout).Increment();
    return fail(ErrorCode::kms_timeout,
                "the time of the whole operation was used up before the KMS provider '" +
                    std::string(inner_.name()) + "' was asked");
  }
  for (int retry = 0;; ++retry) {
    Result<T> result = attempt_once<T>(operation, budgeted, context, attempt);
    if (result || !is_retryable(result.error().code) || retry == options_.max_retries ||
        call.cancelled.stop_requested()) {
      return result;
    }
    const auto pause = pause_before_retry(result.error(), retry);
    if (clock_.steady_now() + pause >= budgeted.deadline) return result;
    if (!clock_.sleep_for(pause, call.cancelled)) return result;
  }
}

Result<DataKey> GuardedProvider::generate_data_key(const CallContext& call,
                                                   const EncryptionContext& context) {
  return guarded<DataKey>("generate_data_key", call, context, [&](const CallContext& attempt) {
    return inner_.generate_data_key(attempt, context);
  });
}

Result<Wrapping> GuardedProvider::encrypt(const CallContext& call,
                                          std::span<const std::uint8_t> plaintext,
                                          const EncryptionContext& context) {
  return guarded<Wrapping>("encrypt", call, context, [&](const CallContext& attempt) {
    return inner_.encrypt(attempt, plaintext, context);
  });
}

Result<SecretBytes> GuardedProvider::decrypt(const CallContext& call, const Wrapping& wrapping,
                                             const EncryptionContext& context) {
  return guarded<SecretBytes>("decrypt", call, context, [&](const CallContext& attempt) {
    return inner_.decrypt(attempt, wrapping, context);
  });
}

Result<MasterKeyInfo> GuardedProvider::describe_key(const CallContext& call) {
  return guarded<MasterKeyInfo>("describe_key", call, {}, [&](const CallContext& attempt) {
    return inner_.describe_key(attempt);
  });
}

}  // namespace betrace::kms
