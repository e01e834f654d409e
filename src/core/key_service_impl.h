// The key service over a store, a provider and three caches.
//
// A verb whose keys are cached completes on the caller's thread. Else the row is read on a store
// thread, unwrapped on a provider thread (on the same one when the provider answers from memory),
// and the verb completes there.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "betrace/kms/clock.h"
#include "betrace/kms/key_service.h"
#include "betrace/kms/key_store.h"

#include "base/executor.h"
#include "core/cached_keys.h"
#include "core/key_cache.h"
#include "core/key_opener.h"
#include "core/nonce_budget.h"
#include "core/service_key.h"
#include "telemetry/metrics.h"

namespace betrace::kms {

// All of them must outlive the service.
struct KeyServiceParts {
  KeyStore& store;
  KeyOpener& opener;
  Executor& store_threads;
  Executor& provider_threads;
  const Clock& clock;
  Metrics& metrics;
};

struct KeyServiceOptions {
  KeyCacheOptions private_keys{.ttl = std::chrono::minutes(60)};
  KeyCacheOptions public_keys{.ttl = std::chrono::hours(24)};
  KeyCacheOptions encryption_keys{.ttl = std::chrono::minutes(60)};
  NonceLimits nonces;
};

class KeyServiceImpl final : public KeyService {
 public:
  KeyServiceImpl(KeyServiceParts parts, KeyServiceOptions options);

  void create_tenant(CallContext call, TenantId tenant, Done<TenantDescription> done) override;
  void describe_tenant(CallContext call, TenantId tenant, Done<TenantDescription> done) override;
  void list_tenants(CallContext call, Page page, Done<std::vector<TenantRecord>> done) override;
  void sign(CallContext call, const TenantId& tenant, std::span<const ByteView> payloads,
            Done<std::vector<Result<Signature>>> done) override;
  void verify(CallContext call, const TenantId& tenant, std::span<const VerifyRequest> requests,
              Done<std::vector<Result<Verification>>> done) override;
  void encrypt(CallContext call, const TenantId& tenant, std::span<const ByteView> plaintexts,
               const EncryptionContext& context, Done<std::vector<Result<Bytes>>> done) override;
  void decrypt(CallContext call, const TenantId& tenant, std::span<const ByteView> ciphertexts,
               const EncryptionContext& context,
               Done<std::vector<Result<WipedBytes>>> done) override;
  void data_key(CallContext call, const TenantId& tenant, const EncryptionContext& context,
                Done<SealedDataKey> done) override;
  void rotate(CallContext call, TenantId tenant, Done<std::vector<KeyRecord>> done) override;
  void public_keys(CallContext call, const TenantId& tenant,
                   Done<std::vector<PublicKey>> done) override;
  void retrieve_signing_key(CallContext call, const TenantId& tenant, Done<bool> done) override;
  CacheReport cache_report() const override;

  // Housekeeping, each blocking on the store at most.
  Status follow_changes();   // drops what was changed; not for two threads at once
  Status write_activity();   // which tenants were used since the last time
  Status refresh_metrics();  // the oldest active key
  void sweep_caches();
  // Loads the most recently active tenants' keys; answers how many tenants.
  Result<std::size_t> warm(std::size_t tenants_max);

 private:
  using SigningKeyPointer = std::shared_ptr<const SigningKey>;
  using EncryptionKeyPointer = std::shared_ptr<const EncryptionKey>;
  using PublicKeysPointer = std::shared_ptr<const PublicKeySet>;
  struct Decryption;

  void load_signing_key(const CallContext& call, const CacheKey& key, Done<SigningKeyPointer> done);
  void load_encryption_key(const CallContext& call, const CacheKey& key,
                           Done<EncryptionKeyPointer> done);
  void load_public_keys(const CallContext& call, const CacheKey& key, Done<PublicKeysPointer> done);
  template <class T, class Find, class Open>
  void load_secret(Done<T> done, Find find, Open open);
  Result<PublicKeysPointer> read_public_keys(const CallContext& call, const TenantId& tenant);

  template <class T, class Use>
  void with_encryption_key(const CallContext& call, const TenantId& tenant, std::uint64_t uses,
                           Done<T> done, Use use);
  void decrypt_next(std::shared_ptr<Decryption> job);

  Result<TenantDescription> create_now(const CallContext& call, const TenantId& tenant);
  Result<TenantDescription> describe_now(const CallContext& call, const TenantId& tenant);
  Result<std::vector<KeyRecord>> rotate_now(const CallContext& call, const TenantId& tenant,
                                            std::span<const KeyType> types);
  Result<KeyRecord> make_key(const CallContext& call, const TenantId& tenant, KeyType type,
                             std::uint32_t version);
  void rotate_spent_key(const TenantId& tenant);
  void evict(const TenantId& tenant);

  const KeyServiceParts parts_;
  const KeyServiceOptions options_;
  ServiceKey service_key_;
  NonceLedger nonces_;
  KeyCache<SigningKey> private_keys_;
  KeyCache<PublicKeySet> public_keys_;
  KeyCache<EncryptionKey> encryption_keys_;

  std::optional<std::uint64_t> generation_;  // touched by follow_changes() alone
  std::mutex activity_mutex_;
  std::chrono::steady_clock::time_point activity_written_at_;
  std::mutex spent_mutex_;
  std::set<TenantId> rotating_spent_;
};

}  // namespace betrace::kms
