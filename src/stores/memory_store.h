// KeyStore in memory, with the rules of the real ones: for tests, and for trying the service out
// without a disk. Thread-safe.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "betrace/kms/key_store.h"

namespace betrace::kms {

class MemoryStore final : public KeyStore {
 public:
  // Each of the next `times` calls of any verb answers `error` and does nothing.
  void fail_next(Error error, std::size_t times = 1);
  // Called with the verb's name ("find_active_key") before each call, outside every lock, so that a
  // test may count calls or hold one up; an error is the call's answer. Set it before the calls.
  void before_each(std::function<Status(std::string_view verb)> hook);

  std::string description() const override;
  Status create_tenant(const CallContext& call, const TenantRecord& tenant,
                       std::span<const KeyRecord> keys) override;
  Result<TenantRecord> find_tenant(const CallContext& call, const TenantId& tenant) override;
  Result<std::vector<TenantRecord>> list_tenants(const CallContext& call,
                                                 const Page& page) override;
  Status insert_service_key(const CallContext& call, const KeyRecord& key) override;
  Result<KeyRecord> find_active_key(const CallContext& call, const TenantId& tenant,
                                    KeyType type) override;
  Result<KeyRecord> find_key(const CallContext& call, const TenantId& tenant, KeyType type,
                             std::uint32_t version) override;
  Result<std::vector<KeyRecord>> list_keys(const CallContext& call,
                                           const TenantId& tenant) override;
  Status rotate(const CallContext& call, std::span<const KeyRecord> successors) override;
  Status change_state(const CallContext& call, const KeyId& key, KeyState from, KeyState to,
                      SystemTime at, std::string_view reason) override;
  Result<Changes> changes_since(const CallContext& call, std::uint64_t generation) override;
  Result<std::uint64_t> generation(const CallContext& call) override;
  Status touch(const CallContext& call,
               std::span<const std::pair<TenantId, SystemTime>> activity) override;
  Result<std::vector<TenantId>> recently_active(const CallContext& call,
                                                std::size_t limit) override;
  Result<std::uint64_t> reserve(const CallContext& call, std::string_view counter,
                                std::uint64_t count, std::uint64_t limit) override;
  Result<StoreCounts> counts(const CallContext& call) override;
  Result<bool> has_wrappings_by(const CallContext& call, std::string_view provider) override;

  // Edits a row as a person with a SQL shell would: `edit` may change anything but the owner, type,
  // version and id. Errors: key_not_found.
  Status edit_key(const KeyId& key, const std::function<void(KeyRecord&)>& edit);

 private:
  struct Tenant {
    TenantRecord record;
    std::optional<SystemTime> last_active;
  };
  using Version = std::tuple<TenantId, KeyType, std::uint32_t>;

  static Version version_of(const KeyRecord& key) { return {key.tenant, key.type, key.version}; }
  Status enter(std::string_view verb);
  // The rest is called under the lock.
  KeyRecord* active(const TenantId& tenant, KeyType type);
  KeyRecord* by_id(const KeyId& id);
  Status check_insertable(const KeyRecord& key);
  void insert(const KeyRecord& key);
  void log_change(const TenantId& tenant);

  std::function<Status(std::string_view)> hook_;
  std::mutex mutex_;
  std::deque<Error> faults_;
  std::map<TenantId, Tenant> tenants_;
  std::map<Version, KeyRecord> keys_;
  std::map<KeyId, Version> ids_;
  std::map<std::string, std::uint64_t, std::less<>> counters_;
  // The tenants of the generations up to newest_, oldest first.
  std::deque<TenantId> changes_;
  std::uint64_t newest_ = 0;
};

}  // namespace betrace::kms
