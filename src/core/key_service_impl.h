// The key service over a store, a provider and three caches.
//
// A verb whose keys are cached completes on the caller's thread. Else the row is read on a store
// thread, unwrapped on a provider thread (on the same one when the provider answers from memory),
// and the verb completes there.
#pragma once

#include <atomic>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "betrace/kms/clock.h"
#include "betrace/kms/evidence.h"
#include "betrace/kms/key_service.h"
#include "betrace/kms/key_store.h"

#include "base/executor.h"
#include "core/cached_keys.h"
#include "core/key_cache.h"
#include "core/key_factory.h"
#include "core/key_opener.h"
#include "core/nonce_budget.h"
#include "core/service_key.h"
#include "telemetry/metrics.h"
#include "telemetry/trace.h"

namespace betrace::kms {

// All of them must outlive the service.
struct KeyServiceParts {
  KeyStore& store;
  KeyOpener& opener;
  Executor& store_threads;
  Executor& provider_threads;
  const Clock& clock;
  Metrics& metrics;
  const Tracer& tracer = Tracer::off();
};

struct KeyServiceOptions {
  KeyCacheOptions private_keys{.ttl = std::chrono::minutes(60)};
  KeyCacheOptions public_keys{.ttl = std::chrono::hours(24)};
  KeyCacheOptions encryption_keys{.ttl = std::chrono::minutes(60)};
  NonceLimits nonces;
};

// New versions of a tenant's keys, made and not stored yet.
struct TenantRotation {
  struct Replacement {
    KeyRecord old_key, new_key;
  };
  TenantId tenant;
  std::vector<Replacement> keys;
  Commit commit() const;
};

class KeyServiceImpl final : public KeyService, public StatementSigner {
 public:
  KeyServiceImpl(KeyServiceParts parts, KeyServiceOptions options);

  void create_tenant(CallContext call, TenantId tenant, Done<TenantDescription> done) override;
  void describe_tenant(CallContext call, TenantId tenant, Done<TenantDescription> done) override;
  void list_tenants(CallContext call, Page page, Done<std::vector<TenantRecord>> done) override;
  void sign(CallContext call, const TenantId& tenant, std::span<const ByteView> payloads,
            Done<std::vector<Result<Signature>>> done) override;
  void sign_statements(CallContext call, const TenantId& tenant, std::size_t count,
                       Statement statement, Done<std::vector<Result<Signature>>> done) override;
  void verify(CallContext call, const TenantId& tenant, std::span<const VerifyRequest> requests,
              Done<std::vector<Result<Verification>>> done) override;
  void encrypt(CallContext call, const TenantId& tenant, std::span<const ByteView> plaintexts,
               const EncryptionContext& context, Done<std::vector<Result<Bytes>>> done) override;
  void decrypt(CallContext call, const TenantId& tenant, std::span<const ByteView> ciphertexts,
               const DecryptOptions& options, Done<std::vector<Result<WipedBytes>>> done) override;
  void rewrap(CallContext call, const TenantId& tenant, std::span<const ByteView> ciphertexts,
              const DecryptOptions& options, Done<std::vector<Result<Bytes>>> done) override;
  void data_key(CallContext call, const TenantId& tenant, const EncryptionContext& context,
                Done<SealedDataKey> done) override;
  void rotate(CallContext call, TenantId tenant, Done<std::vector<KeyRecord>> done) override;
  void public_keys(CallContext call, const TenantId& tenant,
                   Done<std::vector<PublicKey>> done) override;
  void retrieve_signing_key(CallContext call, const TenantId& tenant, Done<bool> done) override;
  CacheReport cache_report() const override;

  // For those who change keys. Each blocks on store and provider.
  using Due = std::function<bool(const KeyRecord&)>;
  // Successors of the tenant's active keys that are `due`. Errors: as rotate().
  Result<TenantRotation> prepare_rotation(const CallContext& call, const TenantId& tenant,
                                          const Due& due);
  // After its commit: drops the old keys from the caches, counts, and says so in the log.
  void finish_rotation(const TenantRotation& rotation);
  KeyFactory& factory() { return factory_; }
  ServiceKey& service_key() { return service_key_; }
  std::shared_ptr<const EncryptionKey> peek_encryption_key(const TenantId& tenant) const {
    return encryption_keys_.peek(tenant);
  }
  // A ciphertext of the tenant's active key, and whether one can be opened, past all caches; both
  // block. open_probe() errors: as decrypt(), and permission_denied is none of them.
  Result<Bytes> seal_probe(const CallContext& call, const TenantId& tenant);
  Status open_probe(const CallContext& call, const TenantId& tenant, ByteView ciphertext);
  void evict(const TenantId& tenant);
  // As evict(), and what is being computed with the tenant's keys will not be answered: from now on
  // they are neither used nor have been.
  void withdraw(const TenantId& tenant);
  // Cached secrets are not used from then on.
  void set_usable_until(std::chrono::steady_clock::time_point time);

  // Housekeeping, each blocking on the store at most.
  struct Followed {
    std::uint64_t generation = 0;  // all changes up to it are applied
    bool dropped = false;          // some were of others
  };
  Result<Followed> follow_changes();  // not for two threads at once
  Status write_activity();            // which tenants were used since the last time
  Status refresh_metrics();           // the oldest active key
  void sweep_caches();
  // Loads the most recently active tenants' keys; answers how many tenants.
  Result<std::size_t> warm(std::size_t tenants_max);

 private:
  using SigningKeyPointer = std::shared_ptr<const SigningKey>;
  using EncryptionKeyPointer = std::shared_ptr<const EncryptionKey>;
  using PublicKeysPointer = std::shared_ptr<const PublicKeySet>;
  using FoundSigningKey = KeyCache<SigningKey>::Found;
  using FoundEncryptionKey = KeyCache<EncryptionKey>::Found;
  using FoundPublicKeys = KeyCache<PublicKeySet>::Found;
  struct Signing;
  struct Decryption;

  // KeyCache::find() and load(), with a span of each retrieval where traces are recorded.
  template <class Value>
  KeyCache<Value>::Found find_cached(KeyCache<Value>& cache, const CallContext& call,
                                     const TenantId& tenant, std::uint32_t version = 0);
  template <class Value>
  void load_cached(KeyCache<Value>& cache, const CallContext& call, const TenantId& tenant,
                   std::uint32_t version, Done<typename KeyCache<Value>::Found> done);

  void load_signing_key(const CallContext& call, const CacheKey& key, Done<SigningKeyPointer> done);
  void load_encryption_key(const CallContext& call, const CacheKey& key,
                           Done<EncryptionKeyPointer> done);
  void load_public_keys(const CallContext& call, const CacheKey& key, Done<PublicKeysPointer> done);
  template <class T, class Find, class Open>
  void load_secret(Done<T> done, Find find, Open open);
  Result<PublicKeysPointer> read_public_keys(const CallContext& call, const TenantId& tenant);

  // Whether what was computed since `begun` may be answered: nothing was evicted meanwhile, and the
  // store has been in reach.
  enum class Outcome : std::uint8_t { good, overtaken, cut_off };
  Outcome outcome_since(std::uint64_t begun) const;
  static std::unexpected<Error> cut_off();

  // Everything of one call, by the key that is there; again when the key was evicted meanwhile.
  using SignAll = std::function<std::vector<Result<Signature>>(const SigningKey&, bool stale)>;
  void sign_by(CallContext call, const TenantId& tenant, SignAll sign_all,
               Done<std::vector<Result<Signature>>> done);
  void sign_with_cached_key(std::shared_ptr<Signing> job);
  template <class T, class Use>
  void with_encryption_key(const CallContext& call, const TenantId& tenant, std::uint64_t uses,
                           Done<T> done, Use use, int attempts_left = 3);
  void decrypt_next(std::shared_ptr<Decryption> job);
  void say_refused_ciphertext(const TenantId& tenant, const Error& error);

  Result<TenantDescription> create_now(const CallContext& call, const TenantId& tenant);
  Result<TenantDescription> describe_now(const CallContext& call, const TenantId& tenant);
  Result<std::vector<KeyRecord>> rotate_now(const CallContext& call, const TenantId& tenant,
                                            const Due& due);
  void rotate_spent_key(const TenantId& tenant);

  const KeyServiceParts parts_;
  const KeyServiceOptions options_;
  ServiceKey service_key_;
  KeyFactory factory_;
  NonceLedger nonces_;
  KeyCache<SigningKey> private_keys_;
  KeyCache<PublicKeySet> public_keys_;
  KeyCache<EncryptionKey> encryption_keys_;

  std::atomic<std::uint64_t> evictions_{0};
  std::atomic<std::chrono::steady_clock::rep> next_refusal_line_{
      std::numeric_limits<std::chrono::steady_clock::rep>::min()};
  std::atomic<std::chrono::steady_clock::rep> usable_until_{
      std::numeric_limits<std::chrono::steady_clock::rep>::max()};

  std::optional<std::uint64_t> generation_;  // touched by follow_changes() alone
  std::mutex activity_mutex_;
  std::chrono::steady_clock::time_point activity_written_at_;
  std::mutex spent_mutex_;
  std::set<TenantId> rotating_spent_;
};

}  // namespace betrace::kms
