// The life of four tenants on one store, whatever its disk does meanwhile: every verb that changes
// something, tried once more when it fails, and a ledger of what was answered.
#pragma once

#include <algorithm>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/durable_world.h"

namespace betrace::kms::testing {

inline const EncryptionContext sealed_context{{"field", "ssn"}};

class DurableScript {
 public:
  // `disk_recovers`: what is tried again must succeed then.
  DurableScript(DurableWorld& world, std::string path, bool disk_recovers)
      : world_(world), path_(std::move(path)), disk_recovers_(disk_recovers) {}

  void run() {
    if (!restart([this] { return world_.before_the_move(); })) return;
    for (const auto& tenant : {acme_, other_, third_}) create(tenant);
    use_all();
    rotate(acme_);
    use(acme_);
    count_and_note_activity();
    rotate_all();
    use_all();
    revoke(acme_, KeyType::signing, KeyState::active);
    revoke(acme_, KeyType::encryption, KeyState::rotated);
    use(acme_);
    destroy_key(third_);
    destroy_tenant(other_);
    destroy_old_seeds();
    if (!restart([this] { return world_.during_the_move(); })) return;
    move_to_the_new_provider();
    create(late_);
    use_all();
    count_and_note_activity();
  }
  const Ledger& ledger() const { return ledger_; }
  // Null while the store could not be opened.
  DurableDaemon* daemon() { return daemon_.get(); }
  void stop() { daemon_.reset(); }

 private:
  void beat() {
    if (!daemon_) return;
    const auto done = daemon_->membership.beat();
    if (!done) expect_outage("beat", done.error());
  }
  // Answers what the second try says, when the first one fails.
  template <class Try>
  auto attempt(const char* what, Try once) {
    beat();
    auto result = once();
    if (result) return result;
    expect_outage(what, result.error());
    beat();
    result = once();
    if (result) return result;
    expect_outage(what, result.error());
    EXPECT_FALSE(disk_recovers_) << what << " failed twice: " << result.error().message;
    return result;
  }
  static void expect_outage(const char* what, const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::store_unavailable) << what << ": " << error.message;
  }

  template <class MakeOpener>
  bool restart(MakeOpener opener) {
    daemon_.reset();
    auto opened = attempt("open", [&] { return DurableDaemon::open(world_, path_, opener()); });
    if (opened) daemon_ = *std::move(opened);
    return daemon_ != nullptr;
  }

  void create(const TenantId& tenant) {
    ledger_.created[tenant] = Told::asked;
    const auto made = attempt("create", [&] { return daemon_->keys.try_create(tenant); });
    if (!made) return;
    ledger_.created[tenant] = Told::done;
    for (const auto& key : made->keys) ledger_.keys.emplace(key.id, tenant);
  }

  void use(const TenantId& tenant) {
    if (!ledger_.is_open(tenant)) return;
    const auto text = fmt::format("{} {}", tenant.str(), ++used_);
    const auto signature = attempt("sign", [&] { return daemon_->keys.sign(tenant, text); });
    if (signature) ledger_.signatures.push_back({tenant, text, *signature});
    const auto sealed =
        attempt("encrypt", [&] { return daemon_->keys.encrypt(tenant, text, sealed_context); });
    if (sealed) ledger_.ciphertexts.push_back({tenant, text, *sealed});
    if (signature && sealed) used_lately_.insert(tenant);
    world_.clock.advance(std::chrono::milliseconds(2));
  }
  void use_all() {
    for (const auto& [tenant, told] : ledger_.created) use(tenant);
  }

  void rotate(const TenantId& tenant) {
    if (!ledger_.is_open(tenant)) return;
    const auto made = attempt("rotate", [&] { return daemon_->keys.rotate(tenant); });
    if (!made) return;
    for (const auto& key : *made) ledger_.keys.emplace(key.id, tenant);
  }

  void count_and_note_activity() {
    const auto first = attempt(
        "reserve", [&] { return daemon_->store->reserve(daemon_->keys.call, "lot", 10, 100'000); });
    if (first) {
      EXPECT_GE(*first, ledger_.counter) << "a value was given to two";
      ledger_.counter = *first + 10;
    }
    world_.clock.advance(std::chrono::milliseconds(2));
    const auto used = std::exchange(used_lately_, {});
    if (attempt("activity", [&] { return daemon_->keys.service->write_activity(); })) {
      ledger_.active.insert(used.begin(), used.end());
    }
    static_cast<void>(attempt("scrub", [&] { return daemon_->store->scrub(daemon_->keys.call); }));
  }

  RotationRun rotation_status() {
    return wait<RotationRun>(
               [&](auto done) { daemon_->rotation.status(daemon_->keys.call, std::move(done)); })
        .value_or(RotationRun{.state = RotationRun::State::interrupted});
  }
  void rotate_all() {
    world_.clock.advance(std::chrono::milliseconds(2));
    const auto begun = attempt("rotate all", [&] {
      return wait<RotationRun>([&](auto done) {
        daemon_->rotation.start(daemon_->keys.call, {.force = true}, std::move(done));
      });
    });
    if (!begun) return;
    daemon_->rotation.tick({});
    for (int i = 0; i < 8 && rotation_status().state != RotationRun::State::complete; ++i) {
      daemon_->take_over();
      daemon_->rotation.tick({});
    }
    const auto run = rotation_status();
    ledger_.rotated_all = run.state == RotationRun::State::complete && run.failed_tenants == 0;
    EXPECT_TRUE(ledger_.rotated_all || !disk_recovers_) << run.failed_tenants << " failed";
  }

  // Of the oldest in this state.
  std::optional<KeyRecord> find(const TenantId& tenant, KeyType type, KeyState state) {
    const auto keys = daemon_->store->list_keys(daemon_->keys.call, tenant);
    if (!keys) return {};
    const auto found = std::ranges::find_if(
        *keys, [&](const KeyRecord& key) { return key.type == type && key.state == state; });
    return found == keys->end() ? std::nullopt : std::optional(*found);
  }
  void revoke(const TenantId& tenant, KeyType type, KeyState state) {
    const auto key = find(tenant, type, state);
    if (!ledger_.is_open(tenant) || !key) return;
    ledger_.revoked[key->id] = Told::asked;
    const auto done = attempt("revoke", [&] {
      return daemon_->acknowledged<Revocation>([&](auto answer) {
        daemon_->lifecycle.revoke(daemon_->keys.call, tenant, key->id, "lost", std::move(answer));
      });
    });
    if (done) ledger_.revoked[key->id] = Told::done;
  }

  void destroy_key(const TenantId& tenant) {
    const auto key = find(tenant, KeyType::encryption, KeyState::rotated);
    if (!ledger_.is_open(tenant) || !key) return;
    ledger_.key_destroyed[key->id] = Told::asked;
    const auto done = attempt("destroy a key", [&] {
      return daemon_->acknowledged<KeyRecord>([&](auto answer) {
        daemon_->lifecycle.destroy_key(daemon_->keys.call, tenant, {.key = key->id, .unused = true},
                                       std::move(answer));
      });
    });
    if (done) ledger_.key_destroyed[key->id] = Told::done;
  }

  std::vector<Bytes> wrapped_forms(const TenantId& tenant) {
    std::vector<Bytes> forms;
    auto& store = *daemon_->store;
    const auto keys = store.list_keys(daemon_->keys.call, tenant).value();
    for (const auto& key : keys) {
      const auto whole = store.find_key(daemon_->keys.call, tenant, key.type, key.version).value();
      for (const auto& wrapping : whole.wrappings) forms.push_back(wrapping.blob);
    }
    return forms;
  }
  void destroy_tenant(const TenantId& tenant) {
    if (!ledger_.is_open(tenant)) return;
    const auto forms = wrapped_forms(tenant);
    ledger_.destroyed[tenant] = Told::asked;
    auto done = attempt("destroy a tenant", [&] { return daemon_->destroy(tenant); });
    if (done) ledger_.destroyed[tenant] = Told::done;
    if (!done || done->pending) {
      daemon_->take_over();
      done = daemon_->destroy(tenant);
    }
    EXPECT_TRUE(!disk_recovers_ || (done && !done->pending)) << "the destruction stays pending";
    if (done && !done->pending) ledger_.shredded = forms;
  }

  void destroy_old_seeds() {
    world_.clock.advance(std::chrono::days(8));
    ledger_.old_seeds_destroyed = Told::asked;
    const auto done = attempt("old seeds", [&] { return daemon_->rotation.destroy_old_seeds(); });
    if (done) ledger_.old_seeds_destroyed = Told::done;
  }

  MigrationRun migration_status() {
    const auto state = wait<MigrationState>(
        [&](auto done) { daemon_->migrator.state(daemon_->keys.call, std::move(done)); });
    return state ? state->run : MigrationRun{};
  }
  void move_to_the_new_provider() {
    const auto begun = attempt("migrate", [&] {
      return wait<MigrationRun>(
          [&](auto done) { daemon_->migrator.start(daemon_->keys.call, std::move(done)); });
    });
    if (!begun) return;
    daemon_->migrator.tick({});
    for (int i = 0; i < 12 && migration_status().state != MigrationRun::State::complete; ++i) {
      daemon_->take_over();
      daemon_->migrator.tick({});
    }
    const auto run = migration_status();
    ledger_.moved = run.state == MigrationRun::State::complete && run.failed == 0;
    EXPECT_TRUE(ledger_.moved || !disk_recovers_) << run.failed << " failed";
  }

  DurableWorld& world_;
  const std::string path_;
  const bool disk_recovers_;
  Ledger ledger_;
  std::unique_ptr<DurableDaemon> daemon_;
  int used_ = 0;
  std::set<TenantId> used_lately_;
  const TenantId acme_ = TenantId::parse("acme").value();
  const TenantId other_ = TenantId::parse("other").value();
  const TenantId third_ = TenantId::parse("third").value();
  const TenantId late_ = TenantId::parse("late").value();
};

}  // namespace betrace::kms::testing
