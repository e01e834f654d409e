// The verbs that make, change and list keys.
#include <algorithm>
#include <array>

#include "base/envelope.h"
#include "base/try.h"
#include "core/key_service_impl.h"
#include "core/retrieval_span.h"
#include "core/run_on.h"
#include "core/succession.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::array both_types{KeyType::signing, KeyType::encryption};

KeyRecord record_of(const PublicKey& key, const TenantId& tenant) {
  return {.id = key.id,
          .tenant = tenant,
          .version = key.version,
          .created_at = key.created_at,
          .public_key = Bytes(key.bytes.begin(), key.bytes.end())};
}

// With envelopes for readers who have nothing but this list.
Result<std::vector<PublicKey>> published(const PublicKeySet& set, const TenantId& tenant) {
  std::vector<PublicKey> keys;
  for (auto member = set.members.begin(); member != set.members.end(); ++member) {
    auto key = member->key;
    if (!member->attested) {
      return fail(ErrorCode::corrupt, "the record of public key " + key.id.str() + " of tenant " +
                                          tenant.str() +
                                          " does not bear the service key's signature");
    }
    const auto record = record_of(key, tenant);
    if (!tenant.is_service()) {
      const EnvelopeSignature by_service{set.service_key, key.attestation};
      key.attestation_envelope =
          dsse_envelope(public_key_type, attested_json(record), {&by_service, 1});
    }
    if (key.succession && key.succession->kind != Succession::Kind::unvouched) {
      const auto& before = std::next(member)->key;
      std::vector<EnvelopeSignature> signatures{{set.service_key, key.succession->by_service}};
      if (!key.succession->by_predecessor.empty()) {
        signatures.push_back({before.id, key.succession->by_predecessor});
      }
      key.succession_envelope = dsse_envelope(
          succession_type, succession_json(record_of(before, tenant), record, key.succession->kind),
          signatures);
    }
    keys.push_back(std::move(key));
  }
  return keys;
}

spdlog::logger& rotation_log() {
  static auto& instance = logger(log_category::rotation);
  return instance;
}

}  // namespace

void KeyServiceImpl::create_tenant(CallContext call, TenantId tenant,
                                   Done<TenantDescription> done) {
  run_on<TenantDescription>(parts_.provider_threads, std::move(done),
                            [this, call = std::move(call), tenant = std::move(tenant)] {
                              return create_now(call, tenant);
                            });
}

Result<TenantDescription> KeyServiceImpl::create_now(const CallContext& call,
                                                     const TenantId& tenant) {
  const auto existing = parts_.store.find_tenant(call, tenant);
  if (existing && existing->destroyed) {
    return fail(ErrorCode::destroyed,
                "tenant '" + tenant.str() + "' was destroyed; its name cannot be used again");
  }
  if (existing) return describe_now(call, tenant);
  if (existing.error().code != ErrorCode::tenant_not_found) {
    return std::unexpected(existing.error());
  }
  TenantDescription made{.tenant = {.id = tenant, .created_at = parts_.clock.now()}};
  for (const auto type : both_types) made.keys.push_back(TRY(factory_.first(call, tenant, type)));
  const auto stored = parts_.store.create_tenant(call, made.tenant, made.keys);
  // Another caller may have been first.
  if (!stored && stored.error().code == ErrorCode::already_exists) {
    return describe_now(call, tenant);
  }
  if (!stored) return std::unexpected(stored.error());
  evict(tenant);
  parts_.metrics.keep_oldest_active_key(made.tenant.created_at);
  for (auto& key : made.keys) key.wrappings.clear();
  made.created = true;
  return made;
}

void KeyServiceImpl::describe_tenant(CallContext call, TenantId tenant,
                                     Done<TenantDescription> done) {
  run_on<TenantDescription>(parts_.store_threads, std::move(done),
                            [this, call = std::move(call), tenant = std::move(tenant)] {
                              return describe_now(call, tenant);
                            });
}

Result<TenantDescription> KeyServiceImpl::describe_now(const CallContext& call,
                                                       const TenantId& tenant) {
  TenantDescription description{.tenant = TRY(parts_.store.find_tenant(call, tenant))};
  description.keys = TRY(parts_.store.list_keys(call, tenant));
  return description;
}

void KeyServiceImpl::list_tenants(CallContext call, Page page,
                                  Done<std::vector<TenantRecord>> done) {
  run_on<std::vector<TenantRecord>>(parts_.store_threads, std::move(done),
                                    [this, call = std::move(call), page = std::move(page)] {
                                      return parts_.store.list_tenants(call, page);
                                    });
}

Commit TenantRotation::commit() const {
  Commit commit;
  for (const auto& [old_key, new_key] : keys) {
    commit.emplace_back(change::Transition{.key = old_key.id,
                                           .from = KeyState::active,
                                           .to = KeyState::rotated,
                                           .at = new_key.created_at});
    commit.emplace_back(change::AddKey{new_key});
  }
  return commit;
}

Result<TenantRotation> KeyServiceImpl::prepare_rotation(const CallContext& call,
                                                        const TenantId& tenant, const Due& due) {
  TenantRotation rotation{.tenant = tenant, .keys = {}};
  for (const auto type : both_types) {
    auto key = TRY(parts_.store.find_active_key(call, tenant, type));
    if (!due(key)) continue;
    auto successor = TRY(factory_.successor(call, key, private_keys_.peek(tenant)));
    rotation.keys.push_back({std::move(key), std::move(successor)});
  }
  return rotation;
}

void KeyServiceImpl::finish_rotation(const TenantRotation& rotation) {
  evict(rotation.tenant);
  parts_.metrics.tenants_rotated.Increment();
  parts_.metrics.rotation_success.Increment(static_cast<double>(rotation.keys.size()));
  for (const auto& [old_key, new_key] : rotation.keys) {
    rotation_log().info("Rotated {} key for tenant {}: old={}, new={}", to_string(new_key.type),
                        rotation.tenant.str(), old_key.id.str(), new_key.id.str());
  }
}

void KeyServiceImpl::rotate(CallContext call, TenantId tenant, Done<std::vector<KeyRecord>> done) {
  run_on<std::vector<KeyRecord>>(parts_.provider_threads, std::move(done),
                                 [this, call = std::move(call), tenant = std::move(tenant)] {
                                   return rotate_now(call, tenant,
                                                     [](const KeyRecord&) { return true; });
                                 });
}

Result<std::vector<KeyRecord>> KeyServiceImpl::rotate_now(const CallContext& call,
                                                          const TenantId& tenant, const Due& due) {
  const auto rotation = TRY(prepare_rotation(call, tenant, due));
  TRY(parts_.store.commit(call, rotation.commit()));
  finish_rotation(rotation);
  // A metric that lags is no reason to fail a rotation that has happened.
  if (const auto refreshed = refresh_metrics(); !refreshed) {
    rotation_log().debug("metrics not refreshed: {}", refreshed.error().message);
  }
  std::vector<KeyRecord> successors;
  for (const auto& each : rotation.keys) {
    successors.push_back(each.new_key);
    successors.back().wrappings.clear();
  }
  return successors;
}

void KeyServiceImpl::rotate_spent_key(const TenantId& tenant) {
  {
    const std::lock_guard lock(spent_mutex_);
    if (!rotating_spent_.insert(tenant).second) return;
  }
  const auto finished = [this, tenant] {
    const std::lock_guard lock(spent_mutex_);
    rotating_spent_.erase(tenant);
  };
  const bool posted = parts_.provider_threads.post([this, tenant, finished] {
    const auto rotated =
        rotate_now(CallContext::system("nonce-budget"), tenant,
                   [](const KeyRecord& key) { return key.type == KeyType::encryption; });
    if (!rotated) {
      rotation_log().warn(
          "the encryption key of tenant {} has spent three quarters of its "
          "encryptions and could not be rotated: {}",
          tenant.str(), rotated.error().message);
    }
    finished();
  });
  if (!posted) finished();
}

void KeyServiceImpl::public_keys(CallContext call, const TenantId& tenant,
                                 Done<std::vector<PublicKey>> done) {
  if (const auto keys = find_cached(public_keys_, call, tenant))
    return done(published(*keys, tenant));
  load_cached(public_keys_, call, tenant, 0,
              [tenant, done = std::move(done)](Result<FoundPublicKeys> keys) mutable {
                if (!keys) return done(std::unexpected(std::move(keys).error()));
                done(published(**keys, tenant));
              });
}

void KeyServiceImpl::retrieve_signing_key(CallContext call, const TenantId& tenant,
                                          Done<bool> done) {
  if (find_cached(private_keys_, call, tenant)) return done(true);
  load_cached(private_keys_, call, tenant, 0,
              [done = std::move(done)](Result<FoundSigningKey> key) mutable {
                if (!key) return done(std::unexpected(std::move(key).error()));
                done(false);
              });
}

}  // namespace betrace::kms
