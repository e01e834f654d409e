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

#include "stores/memory_coordination.h"

namespace betrace::kms {

class MemoryStore final : public KeyStore {
 public:
  explicit MemoryStore(LeaseClock lease_clock = machine_lease_time);

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
  Status commit(const CallContext& call, const Commit& commit) override;
  std::vector<Status> commit_each(const CallContext& call,
                                  std::span<const Commit> commits) override;
  Result<std::vector<KeyRecord>> keys_created_before(const CallContext& call, SystemTime before,
                                                     const AgePlace& after,
                                                     std::size_t limit) override;
  Result<std::uint64_t> count_tenants_with_keys_before(const CallContext& call,
                                                       SystemTime before) override;
  Result<std::vector<Replacement>> replacements_between(const CallContext& call, SystemTime from,
                                                        SystemTime to, std::size_t limit) override;
  Result<std::vector<KeyRecord>> retired_seeds(const CallContext& call, SystemTime before,
                                               std::size_t limit) override;
  Result<std::vector<KeyRecord>> keys_not_wrapped_by(const CallContext& call,
                                                     std::span<const MasterKey> masters,
                                                     const KeyId& after,
                                                     std::size_t limit) override;
  Result<std::uint64_t> count_keys_not_wrapped_by(const CallContext& call,
                                                  std::span<const MasterKey> masters) override;
  Result<std::vector<WrappingCount>> wrapping_counts(const CallContext& call) override;
  Result<std::optional<std::string>> find_note(const CallContext& call,
                                               std::string_view name) override;
  Result<std::vector<std::pair<std::string, std::string>>> list_notes(const CallContext& call,
                                                                      std::string_view prefix,
                                                                      std::string_view after,
                                                                      std::size_t limit) override;
  Result<bool> scrub(const CallContext& call) override;
  Result<Changes> changes_since(const CallContext& call, std::uint64_t generation) override;
  Result<std::uint64_t> generation(const CallContext& call) override;
  Status touch(const CallContext& call,
               std::span<const std::pair<TenantId, SystemTime>> activity) override;
  Result<std::vector<TenantId>> recently_active(const CallContext& call,
                                                std::size_t limit) override;
  Result<std::uint64_t> reserve(const CallContext& call, std::string_view counter,
                                std::uint64_t count, std::uint64_t limit) override;
  Result<StoreCounts> counts(const CallContext& call) override;
  Coordination& coordination() override { return coordination_; }

  // Edits a row as a person with a SQL shell would: `edit` may change anything but the owner, type,
  // version and id. Errors: key_not_found.
  Status edit_key(const KeyId& key, const std::function<void(KeyRecord&)>& edit);

 private:
  struct Tenant {
    TenantRecord record;
    std::optional<SystemTime> last_active;
  };
  using Version = std::tuple<TenantId, KeyType, std::uint32_t>;
  // What a commit may change, so that one that fails is undone by putting back a copy.
  struct Rows {
    std::map<TenantId, Tenant> tenants;
    std::map<Version, KeyRecord> keys;
    std::map<KeyId, Version> ids;
    std::map<std::string, std::string, std::less<>> notes;
    // The tenants of the generations up to newest, oldest first.
    std::deque<TenantId> changes;
    std::uint64_t newest = 0;
  };
  struct Apply;

  static Version version_of(const KeyRecord& key) { return {key.tenant, key.type, key.version}; }
  Status enter(std::string_view verb);
  // The rest is called under the lock.
  Status apply(const Commit& commit);
  KeyRecord* active(const TenantId& tenant, KeyType type);
  KeyRecord* by_id(const KeyId& id);
  bool is_open(const KeyRecord& key) const;  // of a tenant that is not destroyed
  // Of those that `wanted` says, in the order of `place`, without wrappings.
  template <class Wanted, class Place>
  std::vector<KeyRecord> listed(Wanted wanted, Place place, std::size_t limit) const;
  Status check_insertable(const KeyRecord& key);
  void insert(KeyRecord key);
  void log_change(const TenantId& tenant);

  std::function<Status(std::string_view)> hook_;
  std::mutex mutex_;
  std::deque<Error> faults_;
  Rows rows_;
  std::map<std::string, std::uint64_t, std::less<>> counters_;
  MemoryCoordination coordination_;
};

}  // namespace betrace::kms
