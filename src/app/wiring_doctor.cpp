#include "app/wiring_doctor.h"

#include "betrace/kms/secret_bytes.h"

#include "app/doctor_facts_of.h"
#include "app/wiring_parts.h"

namespace betrace::kms {

std::unique_ptr<ServiceDoctor> make_service_doctor(Core::Parts& parts, const Config& config) {
  return std::make_unique<ServiceDoctor>(
      ServiceDoctor::Parts{
          .monitor = *parts.monitor,
          .keys = *parts.keys,
          .metrics = *parts.metrics,
          .store = *parts.store,
          .migration = *parts.migrator,
          .remedies = parts.provider->remedies(),
          .second = parts.second_monitor ? &*parts.second_monitor : nullptr,
          .second_remedies = parts.second != nullptr ? parts.second->remedies() : nullptr,
          .clock = system_clock(),
          .host =
              [config] {
                auto facts = host_facts(config);
                facts.memory_locked = secret_memory_state().locked;
                return facts;
              },
          .evidence = evidence_facts(parts, config),
          .exchanges =
              [&http = *parts.http](ProviderFacts& facts) {
                const auto seen = http.seen();
                facts.phases = seen.slowest;
                facts.clock_skew = seen.clock_skew;
              }},
      config_facts(config));
}

}  // namespace betrace::kms
