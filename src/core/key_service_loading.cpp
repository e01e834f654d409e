// How the caches are filled, followed and emptied.
#include <algorithm>
#include <latch>

#include "base/try.h"
#include "core/key_service_impl.h"
#include "core/run_on.h"
#include "core/succession.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

spdlog::logger& retrieval_log() {
  static auto& instance = logger(log_category::retrieval);
  return instance;
}

// `done`, timed from now.
template <class T>
Done<T> timed(const Clock& clock, prometheus::Histogram& histogram, Done<T> done) {
  return [&clock, &histogram, begun = clock.steady_now(),
          done = std::move(done)](Result<T> result) mutable {
    histogram.Observe(std::chrono::duration<double>(clock.steady_now() - begun).count());
    done(std::move(result));
  };
}

Result<KeyRecord> find_key(KeyStore& store, const CallContext& call, const CacheKey& key,
                           KeyType type) {
  const auto tenant = TenantId::from_store(key.tenant);
  if (key.version == 0) return store.find_active_key(call, tenant, type);
  if (TRY(store.find_tenant(call, tenant)).destroyed) {
    return fail(ErrorCode::destroyed, "tenant '" + key.tenant + "' was destroyed");
  }
  auto record = store.find_key(call, tenant, type, key.version);
  if (record && (record->state == KeyState::destroyed || record->secret_destroyed_at)) {
    return fail(ErrorCode::destroyed, "version " + std::to_string(key.version) + " of the " +
                                          std::string(to_string(type)) + " key was destroyed");
  }
  return record;
}

}  // namespace

KeyServiceImpl::KeyServiceImpl(KeyServiceParts parts, KeyServiceOptions options)
    : parts_(parts),
      options_(options),
      service_key_(parts_.store, parts_.opener, parts_.clock),
      factory_(parts_.opener, service_key_, parts_.clock),
      private_keys_(options_.private_keys, parts_.clock,
                    [this](const CallContext& call, const CacheKey& key, auto done) {
                      load_signing_key(call, key, std::move(done));
                    }),
      public_keys_(options_.public_keys, parts_.clock,
                   [this](const CallContext& call, const CacheKey& key, auto done) {
                     load_public_keys(call, key, std::move(done));
                   }),
      encryption_keys_(options_.encryption_keys, parts_.clock,
                       [this](const CallContext& call, const CacheKey& key, auto done) {
                         load_encryption_key(call, key, std::move(done));
                       }),
      activity_written_at_(parts_.clock.steady_now()) {}

// `find` runs on a store thread; `open` there too, unless it leaves the process.
template <class T, class Find, class Open>
void KeyServiceImpl::load_secret(Done<T> done, Find find, Open open) {
  auto shared = std::make_shared<Done<T>>(std::move(done));
  const auto finish = [shared](Result<T> result) { (*shared)(std::move(result)); };
  const bool posted = parts_.store_threads.post([this, finish, find, open] {
    auto record = find();
    if (!record) return finish(std::unexpected(std::move(record).error()));
    if (!parts_.opener.is_remote(*record)) return finish(open(*record));
    run_on<T>(parts_.provider_threads, finish,
              [open, record = *std::move(record)] { return open(record); });
  });
  if (!posted) finish(fail(ErrorCode::overloaded, "too much work waits for the store"));
}

void KeyServiceImpl::load_signing_key(const CallContext& call, const CacheKey& key,
                                      Done<SigningKeyPointer> done) {
  retrieval_log().debug("Cache miss for signing key, loading from KMS: tenant {}", key.tenant);
  load_secret<SigningKeyPointer>(
      timed(parts_.clock, parts_.metrics.retrieve_signing_key, std::move(done)),
      [this, call, key] { return find_key(parts_.store, call, key, KeyType::signing); },
      [this, call](const KeyRecord& record) { return parts_.opener.open_signing(call, record); });
}

void KeyServiceImpl::load_encryption_key(const CallContext& call, const CacheKey& key,
                                         Done<EncryptionKeyPointer> done) {
  retrieval_log().debug("Cache miss for encryption key, loading from KMS: tenant {}", key.tenant);
  load_secret<EncryptionKeyPointer>(
      timed(parts_.clock, parts_.metrics.retrieve_encryption_key, std::move(done)),
      [this, call, key] { return find_key(parts_.store, call, key, KeyType::encryption); },
      [this, call](const KeyRecord& record) {
        return parts_.opener.open_encryption(call, record, nonces_.budget_of(record.id));
      });
}

void KeyServiceImpl::load_public_keys(const CallContext& call, const CacheKey& key,
                                      Done<PublicKeysPointer> done) {
  retrieval_log().debug("Cache miss for public key, loading from the store: tenant {}", key.tenant);
  run_on<PublicKeysPointer>(
      parts_.store_threads,
      timed(parts_.clock, parts_.metrics.retrieve_public_key, std::move(done)),
      [this, call, tenant = TenantId::from_store(key.tenant)] {
        return read_public_keys(call, tenant);
      });
}

auto KeyServiceImpl::read_public_keys(const CallContext& call, const TenantId& tenant)
    -> Result<PublicKeysPointer> {
  auto records = TRY(parts_.store.list_keys(call, tenant));
  const auto [service_key_id, service_key] = TRY(service_key_.public_half(call));
  auto set = std::make_shared<PublicKeySet>(service_key_id);
  const KeyRecord* before = nullptr;
  for (const auto& record : records) {
    if (record.type != KeyType::signing) continue;
    const auto* const predecessor = std::exchange(before, &record);
    PublicKey key{.id = record.id,
                  .version = record.version,
                  .state = record.state,
                  .created_at = record.created_at,
                  .state_changed_at = record.state_changed_at,
                  .reason = record.reason,
                  .attestation = record.attestation,
                  .succession = record.succession};
    const bool whole = record.public_key.size() == key.bytes.size();
    if (whole) std::ranges::copy(record.public_key, key.bytes.begin());
    const bool follows = record.version == 1 ||
                         (predecessor != nullptr && predecessor->version + 1 == record.version &&
                          is_successor(service_key, *predecessor, record));
    // Nobody attests the service's own key: it is where trust begins.
    const bool attested =
        whole && (tenant.is_service() || (follows && is_attested(service_key, record)));
    set->members.push_back({std::move(key), attested});
  }
  std::ranges::sort(set->members, std::ranges::greater(),
                    [](const auto& member) { return member.key.version; });
  return set;
}

void KeyServiceImpl::evict(const TenantId& tenant) {
  private_keys_.evict(tenant);
  public_keys_.evict(tenant);
  encryption_keys_.evict(tenant);
}

void KeyServiceImpl::withdraw(const TenantId& tenant) {
  evict(tenant);
  evictions_.fetch_add(1);
}

void KeyServiceImpl::set_usable_until(std::chrono::steady_clock::time_point time) {
  usable_until_.store(time.time_since_epoch().count(), std::memory_order_release);
}

auto KeyServiceImpl::follow_changes() -> Result<Followed> {
  const auto call = CallContext::system("changes");
  if (!generation_) {
    generation_ = TRY(parts_.store.generation(call));
    return Followed{.generation = *generation_};
  }
  const auto changes = TRY(parts_.store.changes_since(call, *generation_));
  if (changes.everything) {
    service_key_.evict();
    private_keys_.evict_everything();
    public_keys_.evict_everything();
    encryption_keys_.evict_everything();
  }
  for (const auto& tenant : changes.tenants) {
    evict(tenant);
    if (!tenant.is_service()) continue;
    service_key_.evict();
    public_keys_.evict_everything();
  }
  const bool dropped = changes.everything || !changes.tenants.empty();
  // What others changed may have been a revocation.
  if (dropped) evictions_.fetch_add(1);
  generation_ = changes.generation;
  return Followed{.generation = *generation_, .dropped = dropped};
}

Status KeyServiceImpl::write_activity() {
  const std::lock_guard lock(activity_mutex_);
  const auto now = parts_.clock.steady_now();
  auto tenants = private_keys_.used_since(activity_written_at_);
  std::ranges::copy(encryption_keys_.used_since(activity_written_at_), std::back_inserter(tenants));
  std::ranges::sort(tenants);
  const auto repeated = std::ranges::unique(tenants);
  tenants.erase(repeated.begin(), repeated.end());
  std::vector<std::pair<TenantId, SystemTime>> activity;
  for (auto& tenant : tenants) activity.emplace_back(std::move(tenant), parts_.clock.now());
  if (!activity.empty()) TRY(parts_.store.touch(CallContext::system("activity"), activity));
  activity_written_at_ = now;
  return {};
}

Status KeyServiceImpl::refresh_metrics() {
  const auto counts = TRY(parts_.store.counts(CallContext::system("metrics")));
  parts_.metrics.set_oldest_active_key(counts.oldest_active_key);
  return {};
}

void KeyServiceImpl::sweep_caches() {
  private_keys_.sweep();
  public_keys_.sweep();
  encryption_keys_.sweep();
}

Result<std::size_t> KeyServiceImpl::warm(std::size_t tenants_max) {
  const auto call = CallContext::system("warming");
  const auto tenants = TRY(parts_.store.recently_active(call, tenants_max));
  std::latch loading(static_cast<std::ptrdiff_t>(tenants.size() * 2));
  std::atomic<std::size_t> warmed = 0;
  for (const auto& tenant : tenants) {
    private_keys_.load(call, tenant, 0, [&](const auto& key) {
      if (key) ++warmed;
      loading.count_down();
    });
    encryption_keys_.load(call, tenant, 0, [&](const auto&) { loading.count_down(); });
  }
  loading.wait();
  return warmed.load();
}

CacheReport KeyServiceImpl::cache_report() const {
  return {private_keys_.statistics(), public_keys_.statistics(), encryption_keys_.statistics()};
}

}  // namespace betrace::kms
