#include "core/lifecycle.h"

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "base/try.h"
#include "core/run_on.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr int attempts_max = 4;

Result<KeyRecord> find_version(KeyStore& store, const CallContext& call, const TenantId& tenant,
                               const KeyId& id) {
  if (TRY(store.find_tenant(call, tenant)).destroyed) {
    return fail(ErrorCode::destroyed, fmt::format("tenant '{}' was destroyed", tenant.str()));
  }
  const auto keys = TRY(store.list_keys(call, tenant));
  const auto found = std::ranges::find(keys, id, &KeyRecord::id);
  if (found == keys.end()) {
    return fail(ErrorCode::key_not_found,
                fmt::format("tenant '{}' has no key {}", tenant.str(), id.str()));
  }
  return *found;
}

bool is_conflict(const Error& error) { return error.code == ErrorCode::conflict; }

}  // namespace

// Runs `work` on a provider thread and answers its value when all daemons have applied it.
template <class T, class Work>
void Lifecycle::change(CallContext call, Done<T> done, Work work) {
  run_on<T>(
      parts_.provider_threads,
      [this, call, done = std::move(done)](Result<T> made) mutable {
        if (!made) return done(std::move(made));
        parts_.epochs.try_advance(call);
        parts_.membership.when_applied(
            call, [done = std::move(done), made = std::move(made)](Status applied) mutable {
              if (!applied) return done(std::unexpected(std::move(applied).error()));
              done(std::move(made));
            });
      },
      std::move(work));
}

void Lifecycle::revoke(CallContext call, TenantId tenant, KeyId key, std::string reason,
                       Done<Revocation> done) {
  change<Revocation>(call, std::move(done),
                     [this, call, tenant = std::move(tenant), key, reason = std::move(reason)] {
                       return revoke_now(call, tenant, key, reason);
                     });
}

Result<Revocation> Lifecycle::revoke_now(const CallContext& call, const TenantId& tenant,
                                         const KeyId& id, const std::string& reason) {
  for (int attempt = 1;; ++attempt) {
    Revocation made{.revoked = TRY(find_version(parts_.store, call, tenant, id)), .successor = {}};
    auto& key = made.revoked;
    if (key.state == KeyState::revoked) return made;
    if (key.state == KeyState::destroyed) {
      return fail(ErrorCode::destroyed, fmt::format("key {} was destroyed", id.str()));
    }
    if (key.type == KeyType::signing && parts_.before_revocation) {
      parts_.before_revocation();
      // What it proves is older than the revocation, and times have milliseconds.
      parts_.clock.sleep_for(std::chrono::milliseconds(1), {});
    }
    const change::Transition step{.key = id,
                                  .from = key.state,
                                  .to = KeyState::revoked,
                                  .at = parts_.clock.now(),
                                  .reason = reason};
    Commit commit{step};
    if (key.state == KeyState::active) {
      made.successor = TRY(parts_.keys.factory().successor_after_compromise(call, key));
      commit.emplace_back(change::AddKey{*made.successor});
      made.successor->wrappings.clear();
    }
    const auto done = parts_.store.commit(call, commit);
    // A rotation was first: then it is an older version that is revoked.
    if (!done && is_conflict(done.error()) && attempt < attempts_max) continue;
    if (!done) return std::unexpected(done.error());
    parts_.keys.withdraw(tenant);
    key.state = step.to;
    key.state_changed_at = step.at;
    key.reason = reason;
    logger(log_category::rotation)
        .warn("Revoked {} key for tenant {}: key={}, version={}, reason={}", to_string(key.type),
              tenant.str(), id.str(), key.version, reason);
    return made;
  }
}

void Lifecycle::destroy_key(CallContext call, TenantId tenant, DestroyKey request,
                            Done<KeyRecord> done) {
  change<KeyRecord>(call, std::move(done), [this, call, tenant = std::move(tenant), request] {
    return destroy_key_now(call, tenant, request);
  });
}

Result<KeyRecord> Lifecycle::destroy_key_now(const CallContext& call, const TenantId& tenant,
                                             const DestroyKey& request) {
  auto key = TRY(find_version(parts_.store, call, tenant, request.key));
  if (key.state == KeyState::destroyed) return key;
  if (key.state == KeyState::active) {
    return fail(ErrorCode::conflict,
                fmt::format("key {} is the active {} key: rotate the tenant first, or revoke it",
                            key.id.str(), to_string(key.type)));
  }
  const auto now = parts_.clock.now();
  if (key.type == KeyType::encryption && !request.unused) {
    const auto bound = options_.ciphertext_age_max;
    const bool old =
        bound.count() > 0 && key.state_changed_at && *key.state_changed_at < now - bound;
    if (!old) {
      return fail(
          ErrorCode::conflict,
          fmt::format("what version {} of the encryption key has encrypted could not be "
                      "decrypted again: rewrap it first, then say unused=true{}",
                      key.version,
                      bound.count() > 0 ? fmt::format(", or wait until it was replaced more "
                                                      "than {} days ago",
                                                      bound.count())
                                        : std::string()));
    }
  }
  Commit commit{change::DestroySecret{.key = key.id, .at = now}};
  // A revoked signing key stays revoked: its signatures must not be trusted again.
  const bool stays = key.type == KeyType::signing && key.state == KeyState::revoked;
  if (!stays) {
    commit.emplace_back(
        change::Transition{.key = key.id, .from = key.state, .to = KeyState::destroyed, .at = now});
  }
  TRY(parts_.store.commit(call, commit));
  parts_.keys.withdraw(tenant);
  static_cast<void>(parts_.store.scrub(call));  // now if nobody reads; else when the log is reused
  logger(log_category::rotation)
      .info("Destroyed {} key for tenant {}: key={}, version={}", to_string(key.type), tenant.str(),
            key.id.str(), key.version);
  return find_version(parts_.store, call, tenant, request.key);
}

}  // namespace betrace::kms
