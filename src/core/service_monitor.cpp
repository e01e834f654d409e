#include "core/service_monitor.h"

#include <algorithm>

#include <fmt/format.h>
#include <pthread.h>

#include "core/run_on.h"
#include "core/validation.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

const EncryptionContext& probe_context() {
  static const EncryptionContext context{{"keyType", "signing"}, {"tenantId", "@probe"}};
  return context;
}

constexpr double hit_rate_target = 0.8;
constexpr std::uint64_t lookups_to_judge = 1000;

std::optional<std::string> hit_rate_issue(std::string_view cache, const CacheStatistics& cached) {
  const auto lookups = cached.hits + cached.misses;
  if (lookups < lookups_to_judge) return std::nullopt;
  const auto rate = static_cast<double>(cached.hits) / static_cast<double>(lookups);
  if (rate >= hit_rate_target) return std::nullopt;
  return fmt::format("Cache hit rate of {} is {:.0f}% (target: above 80%)", cache, rate * 100);
}

Error failed_to(std::string_view what, Error error) {
  error.message = fmt::format("Failed to {}: {}", what, error.message);
  return error;
}

}  // namespace

ServiceMonitor::ServiceMonitor(MonitorParts parts, MonitorOptions options)
    : parts_(std::move(parts)), options_(options) {
  state_.provider = parts_.provider.name();
}

ServiceMonitor::~ServiceMonitor() { stopping_.request_stop(); }

void ServiceMonitor::start() {
  thread_ = std::jthread([this] {
    pthread_setname_np(pthread_self(), "kms-probe");
    const auto stop = stopping_.get_token();
    do {
      probe();
    } while (parts_.clock.sleep_for(options_.probe_interval, stop));
  });
}

CallContext ServiceMonitor::probe_call() const {
  auto call = CallContext::system("health-probe");
  call.deadline = parts_.clock.steady_now() + options_.call_timeout;
  call.cancelled = stopping_.get_token();
  return call;
}

void ServiceMonitor::probe() {
  const std::lock_guard probing(probing_);
  const auto begun = parts_.clock.steady_now();
  auto error = probe_provider();
  if (stopping_.stop_requested()) return;
  publish(std::move(error), parts_.clock.steady_now() - begun);
}

std::optional<Error> ServiceMonitor::probe_provider() {
  const auto described = parts_.provider.describe_key(probe_call());
  if (!described) return failed_to("describe the master key", described.error());
  if (!described->usable) {
    return Error{.code = ErrorCode::kms_key_disabled,
                 .message = fmt::format("The master key {} is in state {}", described->key_id,
                                        described->state),
                 .type = described->state};
  }
  const auto now = parts_.clock.steady_now();
  if (!data_key_at_ || now - *data_key_at_ >= options_.data_key_interval) {
    return probe_data_key();
  }
  const auto opened = parts_.provider.decrypt(probe_call(), *sentinel_, probe_context());
  if (!opened) return failed_to("decrypt a data key", opened.error());
  if (!(*opened == sentinel_plaintext_)) {
    return Error{.code = ErrorCode::corrupt,
                 .message = "The provider decrypted the probe's data key to something else"};
  }
  return std::nullopt;
}

std::optional<Error> ServiceMonitor::probe_data_key() {
  auto made = parts_.provider.generate_data_key(probe_call(), probe_context());
  if (!made) {
    data_key_at_.reset();
    return failed_to("generate data key", std::move(made).error());
  }
  sentinel_ = std::move(made->wrapped);
  sentinel_plaintext_ = std::move(made->plaintext);
  data_key_at_ = parts_.clock.steady_now();
  return std::nullopt;
}

void ServiceMonitor::publish(std::optional<Error> error, std::chrono::steady_clock::duration took) {
  const std::lock_guard lock(mutex_);
  const bool changed = !state_.started || state_.up == error.has_value();
  state_.started = true;
  state_.up = !error;
  state_.latency = std::chrono::ceil<std::chrono::milliseconds>(took);
  state_.error = std::move(error);
  if (!changed) return;
  if (state_.up) {
    logger(log_category::kms).info("KMS provider '{}' is operational", state_.provider);
  } else {
    logger(log_category::kms)
        .error("KmsException: {} (health is DOWN, provider={})", state_.error->message,
               state_.provider);
  }
}

HealthState ServiceMonitor::health() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

std::vector<BreakerReport> ServiceMonitor::breakers() const {
  std::vector<BreakerReport> reports;
  for (const auto* breaker : parts_.breakers) {
    reports.push_back({.name = breaker->name(), .state = breaker->state()});
  }
  return reports;
}

std::vector<std::string> ServiceMonitor::issues() const {
  std::vector<std::string> issues;
  const auto health = this->health();
  if (health.error) issues.push_back(health.error->message);
  for (const auto& breaker : breakers()) {
    if (breaker.state == BreakerState::closed) continue;
    issues.push_back(fmt::format("Circuit breaker '{}' is {}", breaker.name,
                                 breaker.state == BreakerState::open ? "OPEN" : "HALF_OPEN"));
  }
  if (health.provider == "local") {
    issues.emplace_back(
        "Using LocalKmsAdapter - NOT FOR PRODUCTION USE: set betrace.kms.provider to a KMS");
  }
  const auto caches = parts_.keys.cache_report();
  for (const auto& [name, statistics] : {std::pair{"privateKeys", caches.private_keys},
                                         std::pair{"encryptionKeys", caches.encryption_keys}}) {
    if (auto issue = hit_rate_issue(name, statistics)) issues.push_back(*std::move(issue));
  }
  if (!secret_memory_state().locked) {
    issues.emplace_back(
        "Secret memory is not locked: raise the limit of locked memory "
        "(ulimit -l, LimitMEMLOCK=)");
  }
  return issues;
}

void ServiceMonitor::validate(CallContext call, Done<ValidationReport> done) {
  run_on<ValidationReport>(parts_.provider_threads, std::move(done),
                           [this, call = std::move(call)]() -> Result<ValidationReport> {
                             return run_validation(call, parts_.provider, parts_.clock,
                                                   options_.call_timeout);
                           });
}

}  // namespace betrace::kms
