// The verbs that make, change and list keys.
#include <algorithm>
#include <array>

#include "base/try.h"
#include "core/key_service_impl.h"
#include "core/run_on.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::array both_types{KeyType::signing, KeyType::encryption};

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

Result<KeyRecord> KeyServiceImpl::make_key(const CallContext& call, const TenantId& tenant,
                                           KeyType type, std::uint32_t version) {
  auto made = TRY(parts_.opener.make(call, tenant, type, version, parts_.clock.now()));
  if (type == KeyType::signing) {
    made.record.attestation = attest(*TRY(service_key_.get(call)), made.record);
  }
  return std::move(made.record);
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
  for (const auto type : both_types) made.keys.push_back(TRY(make_key(call, tenant, type, 1)));
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

void KeyServiceImpl::rotate(CallContext call, TenantId tenant, Done<std::vector<KeyRecord>> done) {
  run_on<std::vector<KeyRecord>>(parts_.provider_threads, std::move(done),
                                 [this, call = std::move(call), tenant = std::move(tenant)] {
                                   return rotate_now(call, tenant, both_types);
                                 });
}

Result<std::vector<KeyRecord>> KeyServiceImpl::rotate_now(const CallContext& call,
                                                          const TenantId& tenant,
                                                          std::span<const KeyType> types) {
  std::vector<KeyRecord> predecessors;
  std::vector<KeyRecord> successors;
  for (const auto type : types) {
    predecessors.push_back(TRY(parts_.store.find_active_key(call, tenant, type)));
    successors.push_back(TRY(make_key(call, tenant, type, predecessors.back().version + 1)));
  }
  TRY(parts_.store.rotate(call, successors));
  evict(tenant);
  parts_.metrics.tenants_rotated.Increment();
  for (std::size_t i = 0; i < successors.size(); ++i) {
    rotation_log().info("Rotated {} key for tenant {}: old={}, new={}",
                        to_string(successors[i].type), tenant.str(), predecessors[i].id.str(),
                        successors[i].id.str());
    successors[i].wrappings.clear();
  }
  // A metric that lags is no reason to fail a rotation that has happened.
  if (const auto refreshed = refresh_metrics(); !refreshed) {
    rotation_log().debug("metrics not refreshed: {}", refreshed.error().message);
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
    constexpr std::array types{KeyType::encryption};
    const auto rotated = rotate_now(CallContext::system("nonce-budget"), tenant, types);
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
  auto use = [tenant](const PublicKeySet& set) -> Result<std::vector<PublicKey>> {
    std::vector<PublicKey> keys;
    for (const auto& [key, attested] : set.members) {
      if (!attested) {
        return fail(ErrorCode::corrupt, "the record of public key " + key.id.str() + " of tenant " +
                                            tenant.str() +
                                            " does not bear the service key's signature");
      }
      keys.push_back(key);
    }
    return keys;
  };
  if (const auto keys = public_keys_.find(tenant)) return done(use(*keys));
  public_keys_.load(call, tenant, 0,
                    [use, done = std::move(done)](Result<PublicKeysPointer> keys) mutable {
                      if (!keys) return done(std::unexpected(std::move(keys).error()));
                      done(use(**keys));
                    });
}

void KeyServiceImpl::retrieve_signing_key(CallContext call, const TenantId& tenant,
                                          Done<bool> done) {
  if (private_keys_.find(tenant)) return done(true);
  private_keys_.load(call, tenant, 0,
                     [done = std::move(done)](Result<SigningKeyPointer> key) mutable {
                       if (!key) return done(std::unexpected(std::move(key).error()));
                       done(false);
                     });
}

}  // namespace betrace::kms
