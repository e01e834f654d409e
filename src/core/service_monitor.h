// Watches the provider, beside the circuit breakers, and answers what the service knows of itself.
// A thread of its own probes, because a provider that hangs must hold up nothing else.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "betrace/kms/clock.h"
#include "betrace/kms/monitor.h"
#include "betrace/kms/provider.h"

#include "base/executor.h"
#include "core/background_probe.h"
#include "core/circuit_breaker.h"
#include "telemetry/metrics.h"

namespace betrace::kms {

// All of them must outlive the monitor.
struct MonitorParts {
  Provider& provider;  // unguarded
  std::vector<const CircuitBreaker*> breakers;
  const KeyService& keys;
  Executor& provider_threads;
  const Clock& clock;
  Metrics& metrics;
  std::string instance = {};  // keeps several apart in metrics and log: "@second"
};

struct MonitorOptions {
  std::chrono::milliseconds probe_interval{std::chrono::seconds(10)};
  std::chrono::milliseconds data_key_interval{std::chrono::minutes(10)};
  std::chrono::milliseconds call_timeout{std::chrono::seconds(5)};
};

class ServiceMonitor final : public Monitor {
 public:
  ServiceMonitor(MonitorParts parts, MonitorOptions options);
  ~ServiceMonitor() override;

  void start();
  // One probe, now; blocks on the provider.
  void probe();

  HealthState health() const override;
  ProbeReport last_probe() const override;
  std::vector<BreakerReport> breakers() const override;
  std::vector<std::string> issues() const override;
  void validate(CallContext call, Done<ValidationReport> done) override;

 private:
  void publish(BackgroundProbe::Outcome outcome, std::chrono::steady_clock::duration took);

  const MonitorParts parts_;
  const MonitorOptions options_;
  mutable std::mutex mutex_;  // of state_
  HealthState state_;

  std::stop_source stopping_;
  std::mutex probing_;  // of probe_
  BackgroundProbe probe_;
  ProbeReport last_probe_;  // under mutex_
  std::jthread thread_;
};

}  // namespace betrace::kms
