// The key service over a store in memory, a fake provider, executors without threads and a clock
// that stands still: no socket, no sleep.
#pragma once

#include <memory>

#include <gtest/gtest.h>

#include "base/crypto.h"
#include "core/guarded_provider.h"
#include "core/key_service_impl.h"
#include "core/sealing.h"
#include "stores/memory_store.h"
#include "support/fake_clock.h"
#include "support/fake_executor.h"
#include "support/fake_provider.h"
#include "support/service_verbs.h"

namespace betrace::kms {

// Leases run out by this clock.
inline LeaseClock lease_clock(const FakeClock& clock) {
  return [&clock] {
    const auto since = clock.steady_now().time_since_epoch();
    return LeaseTime{.boot = "boot",
                     .milliseconds = std::chrono::floor<std::chrono::milliseconds>(since).count()};
  };
}

struct ServiceFixture : ::testing::Test, ServiceVerbs {
  FakeClock clock;
  MemoryStore store{lease_clock(clock)};
  FakeProvider provider;
  Metrics metrics{"fake"};
  InlineExecutor store_threads, provider_threads;
  KeyOpener opener{{&provider, &provider}};
  const TenantId acme = TenantId::parse("acme").value();
  const TenantId other = TenantId::parse("other").value();

  ServiceFixture() { service = restart(); }
  ~ServiceFixture() override { service.reset(); }  // before what it is made of

  // A service over the same store, with empty caches.
  std::unique_ptr<KeyServiceImpl> restart(KeyServiceOptions options = {}) {
    return std::make_unique<KeyServiceImpl>(
        KeyServiceParts{store, opener, store_threads, provider_threads, clock, metrics}, options);
  }
};

}  // namespace betrace::kms
