// The doctor of a running service: answers at once from the last probe, from counters, and from
// what a thread of its own last read from the store and the machine, so that nothing that hangs
// holds up an answer. Thread-safe.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>

#include "betrace/kms/clock.h"
#include "betrace/kms/doctor.h"
#include "betrace/kms/key_store.h"
#include "betrace/kms/migration.h"
#include "betrace/kms/monitor.h"

#include "core/doctor_facts.h"
#include "core/usage_meter.h"
#include "telemetry/metrics.h"

namespace betrace::kms {

class ServiceDoctor final : public Doctor {
 public:
  // All of them must outlive it; `host` and `exchanges` are called on threads of the service.
  struct Parts {
    const Monitor& monitor;
    const KeyService& keys;
    Metrics& metrics;
    KeyStore& store;
    MigrationControl& migration;
    const Remedies* remedies = nullptr;  // of the provider
    const Monitor* second = nullptr;     // of the second provider, where there is one
    const Remedies* second_remedies = nullptr;
    const Clock& clock;
    std::function<HostFacts()> host;               // may block on the disk
    std::function<EvidenceFacts()> evidence = {};  // none: there is no evidence log
    // How the provider's bytes travelled: fills in phases and clock skew.
    std::function<void(ProviderFacts&)> exchanges;
  };

  ServiceDoctor(Parts parts, ConfigFacts config);
  ~ServiceDoctor() override;
  void start();    // its thread
  void refresh();  // what the thread does every few seconds; blocks on the store
  DoctorReport report() const override;

 private:
  StoreFacts read_store(const StoreFacts& before);
  Status fill(StoreFacts& facts, SystemTime overdue);
  UsageMeter::Counters counters() const;

  const Parts parts_;
  const ConfigFacts config_;
  UsageMeter meter_;
  mutable std::mutex mutex_;  // of the three below
  std::optional<StoreFacts> store_;
  HostFacts host_;
  std::optional<EvidenceFacts> evidence_;
  std::jthread thread_;
};

}  // namespace betrace::kms
