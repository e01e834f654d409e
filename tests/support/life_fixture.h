// The life of keys over a store in memory: daemons that beat when a test says so, on one clock.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/lifecycle.h"
#include "core/membership.h"
#include "core/rotation_control.h"
#include "support/service_fixture.h"
#include "support/temporary_directory.h"

namespace betrace::kms {

struct LifeFixture : ServiceFixture {
  static constexpr std::chrono::seconds lease{30};

  // A daemon on the same store, with caches of its own.
  struct Daemon {
    Daemon(LifeFixture& world, const std::string& name, RotationOptions rotation_options,
           std::string cron)
        : service(world.restart(world.service_options)),
          membership({world.store, *service, world.clock}, name, lease),
          epochs({world.store, service->service_key(), world.witness, world.clock}),
          lifecycle({world.store, *service, membership, epochs, world.witness,
                     world.provider_threads, world.clock, world.before_revocation},
                    {.ciphertext_age_max = world.ciphertext_age_max}),
          rotation(
              {world.store, *service, world.store_threads, world.provider_threads, world.clock,
               world.metrics, name},
              rotation_options,
              RotationSchedule::make(world.store, world.clock, {.cron = std::move(cron)}).value()) {
      EXPECT_TRUE(membership.beat());
    }
    std::unique_ptr<KeyServiceImpl> service;
    Membership membership;
    EpochKeeper epochs;
    Lifecycle lifecycle;
    Rotation rotation;
  };
  std::chrono::days ciphertext_age_max{0};
  std::function<void()> before_revocation;
  KeyServiceOptions service_options;
  TemporaryDirectory outside;
  Witness witness{outside.path()};

  std::unique_ptr<Daemon> daemon(const std::string& name, RotationOptions options = {},
                                 std::string cron = "off") {
    return std::make_unique<Daemon>(*this, name, options, std::move(cron));
  }

  // A call whose answer comes later.
  template <class T>
  struct Answer {
    std::shared_ptr<std::optional<Result<T>>> value = std::make_shared<std::optional<Result<T>>>();
    Done<T> done() {
      return [value = value](Result<T> result) { *value = std::move(result); };
    }
    explicit operator bool() const { return value->has_value(); }
    Result<T>& operator*() { return **value; }
  };
  Answer<Revocation> revoke(Daemon& on, const TenantId& tenant, const KeyId& key) {
    Answer<Revocation> answer;
    on.lifecycle.revoke(call, tenant, key, "laptop lost", answer.done());
    return answer;
  }
  Answer<Destruction> destroy(Daemon& on, const TenantId& tenant) {
    Answer<Destruction> answer;
    on.lifecycle.destroy_tenant(call, tenant, answer.done());
    return answer;
  }
  // Half a second later, as `daemons` see it.
  void settle(std::initializer_list<Daemon*> daemons) {
    clock.advance(Membership::settling);
    for (int round = 0; round < 2; ++round) {
      for (auto* each : daemons) EXPECT_TRUE(each->membership.beat());
    }
  }
  KeyRecord active(const TenantId& tenant, KeyType type = KeyType::signing) {
    return store.find_active_key(call, tenant, type).value();
  }
};

}  // namespace betrace::kms
