// What Core owns, in the order in which it is made; destroyed in the reverse one. Included by the
// files of the wiring only.
#pragma once

#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "betrace/kms/key_store.h"
#include "betrace/kms/provider.h"

#include "app/http_observer.h"
#include "app/wiring.h"
#include "base/executor.h"
#include "core/circuit_breaker.h"
#include "core/epoch_keeper.h"
#include "core/guarded_provider.h"
#include "core/housekeeper.h"
#include "core/key_opener.h"
#include "core/key_service_impl.h"
#include "core/lifecycle.h"
#include "core/membership.h"
#include "core/migrator.h"
#include "core/rotation_control.h"
#include "core/service_doctor.h"
#include "core/service_monitor.h"
#include "core/service_seal.h"
#include "core/witness.h"
#include "evidence/checkpoint_push.h"
#include "evidence/log_slot.h"
#include "telemetry/metrics.h"
#include "telemetry/span_exporter.h"
#include "telemetry/trace.h"

namespace betrace::kms {

struct Core::Parts {
  std::unique_ptr<KeyStore> store;
  std::unique_ptr<HttpObserver> http;
  std::unique_ptr<Provider> provider;
  std::vector<std::unique_ptr<Provider>> further;  // open what others wrapped
  Provider* second = nullptr;                      // of them, the one that wraps every key as well
  std::unique_ptr<Metrics> metrics;
  std::unique_ptr<HttpClient> traces_http;
  std::unique_ptr<SpanExporter> exporter;
  std::unique_ptr<Tracer> tracer;  // none: traces are off
  const Tracer& traces() const { return tracer ? *tracer : Tracer::off(); }
  std::vector<std::unique_ptr<CircuitBreaker>> breakers;
  std::vector<std::unique_ptr<GuardedProvider>> guarded;
  std::unique_ptr<KeyOpener> opener;
  std::optional<ThreadPool> store_threads, provider_threads, heavy_threads;
  std::unique_ptr<KeyServiceImpl> keys;
  std::optional<Witness> witness;
  std::unique_ptr<EpochKeeper> epochs;
  std::unique_ptr<Membership> membership;
  std::unique_ptr<Lifecycle> lifecycle;
  std::unique_ptr<Rotation> rotation;
  std::unique_ptr<Migrator> migrator;
  std::optional<ServiceMonitor> monitor, second_monitor;
  std::unique_ptr<ServiceDoctor> doctor;
  std::unique_ptr<ServiceSeal> seal;
  std::unique_ptr<HttpClient> push_http, forward_http;
  std::unique_ptr<CheckpointPush> push;
  std::unique_ptr<LogSlot> evidence_log;  // none: signatures alone
  std::optional<Housekeeper> housekeeper;
  std::jthread warming;
};

// The store at betrace.kms.store.url: its file.
Result<std::string> store_file(const Config& config);
// Refuses a store that is older than it was, and destroys again what was destroyed before it was
// restored. Errors: conflict, corrupt.
Status check_history(Core::Parts& parts, const Config& config);
// The evidence log, unless it is switched off. Errors: invalid_argument, naming the key.
Status make_evidence_log(Core::Parts& parts, const Config& config);
// A checkpoint over all that was signed until now; why there is none goes into the log.
void publish_evidence(const Core::Parts& parts);
// What doctor wants to know of the log; null where there is none.
std::function<EvidenceFacts()> evidence_facts(const Core::Parts& parts, const Config& config);

}  // namespace betrace::kms
