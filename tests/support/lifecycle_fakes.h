// Stand-ins for the ends of keys and for rotation: they answer what the test set and remember what
// they were asked.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "betrace/kms/key_lifecycle.h"
#include "betrace/kms/migration.h"
#include "betrace/kms/rotation.h"

namespace betrace::kms {

class FakeLifecycle final : public KeyLifecycle {
 public:
  std::optional<Error> next_error;
  CallContext last_call;
  std::vector<std::string> asked;  // "revoke acme <key> reason"
  bool has_successor = true;
  Destruction destruction{.tenant = TenantId::from_store("acme"),
                          .destroyed_at = at(5),
                          .signing_keys = 2,
                          .encryption_keys = 3,
                          .pending = false,
                          .certificate = R"({"payload":"e30=","signatures":[]})"};

  void revoke(CallContext call, TenantId tenant, KeyId key, std::string reason,
              Done<Revocation> done) override {
    asked.push_back("revoke " + tenant.str() + " " + key.str() + " " + reason);
    Revocation revocation{.revoked = record(tenant, key, 1, KeyState::revoked)};
    revocation.revoked.reason = reason;
    if (has_successor) {
      revocation.successor = record(tenant, KeyId::generate(at(9)), 2, KeyState::active);
    }
    respond<Revocation>(std::move(call), std::move(done), std::move(revocation));
  }
  void destroy_key(CallContext call, TenantId tenant, DestroyKey request,
                   Done<KeyRecord> done) override {
    asked.push_back("destroy " + tenant.str() + " " + request.key.str() +
                    (request.unused ? " unused" : ""));
    auto destroyed = record(tenant, request.key, 1, KeyState::destroyed);
    destroyed.secret_destroyed_at = at(5);
    respond<KeyRecord>(std::move(call), std::move(done), std::move(destroyed));
  }
  void destroy_tenant(CallContext call, TenantId tenant, Done<Destruction> done) override {
    asked.push_back("destroy " + tenant.str());
    destruction.tenant = tenant;
    respond<Destruction>(std::move(call), std::move(done), destruction);
  }

  // 2025-11-23T00:00:00Z and so many seconds.
  static SystemTime at(int seconds) {
    return SystemTime(std::chrono::milliseconds(1'763'856'000'000)) + std::chrono::seconds(seconds);
  }
  static KeyRecord record(const TenantId& tenant, KeyId key, std::uint32_t version,
                          KeyState state) {
    return {.id = key,
            .tenant = tenant,
            .type = KeyType::signing,
            .version = version,
            .state = state,
            .created_at = at(0),
            .state_changed_at = state == KeyState::active ? std::nullopt : std::optional(at(5))};
  }

 private:
  template <class T>
  void respond(CallContext call, Done<T> done, T value) {
    last_call = std::move(call);
    if (next_error) return done(std::unexpected(*std::exchange(next_error, std::nullopt)));
    done(std::move(value));
  }
};

class FakeRotation final : public RotationControl {
 public:
  std::optional<Error> next_error;
  RotationRun run;  // what status and start answer
  std::optional<RotationRequest> requested;
  std::vector<DueKey> due_keys;
  std::vector<AgePlace> due_after;
  RotationReport reported;
  std::optional<std::pair<SystemTime, SystemTime>> asked_period;
  ScheduleState state{.enabled = true, .cron = "0 0 2 * * ?"};

  void start(CallContext, RotationRequest request, Done<RotationRun> done) override {
    requested = std::move(request);
    respond<RotationRun>(std::move(done), run);
  }
  void status(CallContext, Done<RotationRun> done) override {
    respond<RotationRun>(std::move(done), run);
  }
  void due(CallContext, AgePlace after, std::size_t limit,
           Done<std::vector<DueKey>> done) override {
    due_after.push_back(after);
    std::vector<DueKey> found;
    for (const auto& each : due_keys) {
      const auto& key = each.key;
      const auto place = std::tuple(key.created_at, key.tenant.str(), key.type);
      if (place > std::tuple(after.created_at, after.tenant, after.type) && found.size() < limit) {
        found.push_back(each);
      }
    }
    respond<std::vector<DueKey>>(std::move(done), std::move(found));
  }
  void report(CallContext, SystemTime from, SystemTime to, Done<RotationReport> done) override {
    asked_period.emplace(from, to);
    reported.from = from;
    reported.to = to;
    respond<RotationReport>(std::move(done), reported);
  }
  ScheduleState schedule() const override { return state; }
  std::chrono::days max_age() const override { return std::chrono::days(90); }

  void add_due(const std::string& tenant, KeyType type, int seconds) {
    auto key =
        FakeLifecycle::record(TenantId::from_store(tenant),
                              KeyId::generate(FakeLifecycle::at(seconds)), 1, KeyState::active);
    key.type = type;
    key.created_at = FakeLifecycle::at(seconds);
    due_keys.push_back({.key = std::move(key), .age = std::chrono::days(95)});
  }

 private:
  template <class T>
  void respond(Done<T> done, T value) {
    if (next_error) return done(std::unexpected(*std::exchange(next_error, std::nullopt)));
    done(std::move(value));
  }
};

class FakeMigration final : public MigrationControl {
 public:
  std::optional<Error> next_error;
  MigrationState known{
      .run = {}, .holders = {{.count = {.provider = "local", .master_key_id = "m", .keys = 3}}}};

  void start(CallContext, Done<MigrationRun> done) override {
    if (next_error) return done(std::unexpected(*std::exchange(next_error, std::nullopt)));
    done(known.run);
  }
  void state(CallContext, Done<MigrationState> done) override {
    if (next_error) return done(std::unexpected(*std::exchange(next_error, std::nullopt)));
    done(known);
  }
};

}  // namespace betrace::kms
