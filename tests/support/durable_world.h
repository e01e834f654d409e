// Daemons over a SQLite file, with two providers to move between, and what their callers were told
// and so may rely on. One clock that stands still, and no threads but the store's own.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/lifecycle.h"
#include "core/membership.h"
#include "core/migrator.h"
#include "core/rotation_control.h"
#include "stores/sqlite_store.h"
#include "support/service_fixture.h"
#include "support/temporary_directory.h"

namespace betrace::kms::testing {

struct DurableWorld {
  static constexpr std::chrono::seconds lease{30};

  FakeClock clock;
  FakeProvider old_provider{"old"}, new_provider{"new"};
  Metrics metrics{"new"};
  InlineExecutor threads;

  FakeProvider& provider(std::string_view name) {
    return name == old_provider.name() ? old_provider : new_provider;
  }
  KeyOpener before_the_move() { return KeyOpener{{&old_provider, &old_provider}}; }
  KeyOpener during_the_move() {
    return KeyOpener{{&new_provider, &new_provider}, {{&old_provider, &old_provider}}};
  }
  KeyOpener after_the_move() { return KeyOpener{{&new_provider, &new_provider}}; }
};

struct DurableDaemon {
  static Result<std::unique_ptr<DurableDaemon>> open(DurableWorld& world, const std::string& path,
                                                     KeyOpener opener) {
    auto store = open_sqlite_store({.path = path, .lease_clock = lease_clock(world.clock)});
    if (!store) return std::unexpected(std::move(store).error());
    return std::make_unique<DurableDaemon>(world, *std::move(store), std::move(opener));
  }
  DurableDaemon(DurableWorld& world, std::unique_ptr<KeyStore> opened, KeyOpener with)
      : world(world),
        store(std::move(opened)),
        opener(std::move(with)),
        keys{.service = std::make_unique<KeyServiceImpl>(
                 KeyServiceParts{*store, opener, world.threads, world.threads, world.clock,
                                 world.metrics},
                 KeyServiceOptions{.nonces = {.total = 1024, .block = 2}})},
        membership({*store, *keys.service, world.clock}, "one", world.lease),
        epochs({*store, keys.service->service_key(), witness, world.clock}),
        lifecycle({*store, *keys.service, membership, epochs, witness, world.threads, world.clock},
                  {}),
        rotation({*store, *keys.service, world.threads, world.threads, world.clock, world.metrics,
                  "one"},
                 {}, RotationSchedule::make(*store, world.clock, {.cron = "off"}).value()),
        migrator({*store, opener, *keys.service, world.threads, world.threads, world.clock, "one"},
                 {.batch_size = 4}) {}

  // Waits for an answer that all daemons, this one, must have heard of first.
  template <class T, class Start>
  Result<T> acknowledged(Start start) {
    const auto answer = std::make_shared<std::optional<Result<T>>>();
    start(Done<T>([answer](Result<T> result) { *answer = std::move(result); }));
    for (int beats = 0; beats < 4 && !*answer; ++beats) {
      world.clock.advance(Membership::settling);
      static_cast<void>(membership.beat());
    }
    if (!*answer) return fail(ErrorCode::store_unavailable, "no answer came");
    return **std::move(answer);
  }
  Result<Destruction> destroy(const TenantId& tenant) {
    return acknowledged<Destruction>(
        [&](auto done) { lifecycle.destroy_tenant(keys.call, tenant, std::move(done)); });
  }
  // The time of a lease later, when what others began is taken for abandoned.
  void take_over() {
    world.clock.advance(world.lease + std::chrono::seconds(1));
    static_cast<void>(membership.beat());
    static_cast<void>(lifecycle.resume());
    for (int beats = 0; beats < 2; ++beats) {
      world.clock.advance(Membership::settling);
      static_cast<void>(membership.beat());
    }
  }

  DurableWorld& world;
  const std::unique_ptr<KeyStore> store;
  KeyOpener opener;
  ServiceVerbs keys;
  Membership membership;
  TemporaryDirectory outside;
  Witness witness{outside.path()};
  EpochKeeper epochs;
  Lifecycle lifecycle;
  Rotation rotation;
  Migrator migrator;
};

// `asked` and never answered, or answered with an error: it may have happened, whole.
enum class Told : std::uint8_t { nothing, asked, done };

struct Ledger {
  struct Signed {
    TenantId tenant;
    std::string payload;
    Signature signature;
  };
  struct Sealed {
    TenantId tenant;
    std::string plaintext;
    Bytes ciphertext;
  };
  std::map<TenantId, Told> created, destroyed;
  std::map<KeyId, Told> revoked, key_destroyed;
  std::map<KeyId, TenantId> keys;
  std::vector<Signed> signatures;
  std::vector<Sealed> ciphertexts;
  std::set<TenantId> active;
  std::uint64_t counter = 0;    // the next value that is free
  std::vector<Bytes> shredded;  // wrapped keys that no file holds any more
  Told old_seeds_destroyed = Told::nothing;
  bool rotated_all = false, moved = false;

  Told told(const std::map<TenantId, Told>& about, const TenantId& tenant) const {
    const auto found = about.find(tenant);
    return found == about.end() ? Told::nothing : found->second;
  }
  Told told(const std::map<KeyId, Told>& about, const KeyId& key) const {
    const auto found = about.find(key);
    return found == about.end() ? Told::nothing : found->second;
  }
  bool is_open(const TenantId& tenant) const {
    return told(created, tenant) == Told::done && told(destroyed, tenant) == Told::nothing;
  }
};

}  // namespace betrace::kms::testing
