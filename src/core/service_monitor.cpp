#include "core/service_monitor.h"

#include <algorithm>

#include <fmt/format.h>
#include <pthread.h>

#include "core/run_on.h"
#include "core/validation.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr double hit_rate_target = 0.8;
constexpr std::uint64_t lookups_to_judge = 1000;

std::optional<std::string> hit_rate_issue(std::string_view cache, const CacheStatistics& cached) {
  const auto lookups = cached.hits + cached.misses;
  if (lookups < lookups_to_judge) return std::nullopt;
  const auto rate = static_cast<double>(cached.hits) / static_cast<double>(lookups);
  if (rate >= hit_rate_target) return std::nullopt;
  return fmt::format("Cache hit rate of {} is {:.0f}% (target: above 80%)", cache, rate * 100);
}

}  // namespace

ServiceMonitor::ServiceMonitor(MonitorParts parts, MonitorOptions options)
    : parts_(std::move(parts)),
      options_(options),
      probe_(parts_.provider, parts_.clock,
             {.call_timeout = options.call_timeout, .data_key_interval = options.data_key_interval},
             stopping_.get_token()) {
  state_.provider = std::string(parts_.provider.name()) + parts_.instance;
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

void ServiceMonitor::probe() {
  const std::lock_guard probing(probing_);
  const auto begun = parts_.clock.steady_now();
  auto outcome = probe_.run();
  if (stopping_.stop_requested()) return;
  publish(std::move(outcome), parts_.clock.steady_now() - begun);
}

void ServiceMonitor::publish(BackgroundProbe::Outcome outcome,
                             std::chrono::steady_clock::duration took) {
  const std::lock_guard lock(mutex_);
  last_probe_ = std::move(outcome.report);
  auto& error = outcome.error;
  const bool changed = !state_.started || state_.up == error.has_value();
  state_.started = true;
  state_.up = !error;
  parts_.metrics.set_provider_up(state_.provider, state_.up);
  state_.latency = std::chrono::ceil<std::chrono::milliseconds>(took);
  state_.error = std::move(error);
  if (!changed) return;
  if (state_.up) {
    logger(log_category::kms).info("KMS provider '{}' is operational", state_.provider);
  } else {
    logger(log_category::kms)
        .error("KmsException: {} ({}, provider={})", state_.error->message,
               parts_.instance.empty() ? "health is DOWN" : "no new keys can be made",
               state_.provider);
  }
}

HealthState ServiceMonitor::health() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

ProbeReport ServiceMonitor::last_probe() const {
  const std::lock_guard lock(mutex_);
  return last_probe_;
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
