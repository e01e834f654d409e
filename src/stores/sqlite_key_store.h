// KeyStore on SQLite: which connection does what. The statements are in sqlite_read.h and
// sqlite_write.h.
#pragma once

#include <string>
#include <vector>

#include "betrace/kms/key_store.h"

#include "stores/reader_pool.h"
#include "stores/sqlite_coordination.h"
#include "stores/sqlite_db.h"
#include "stores/sqlite_store.h"
#include "stores/writer.h"

namespace betrace::kms {

class SqliteKeyStore final : public KeyStore {
 public:
  // `db` has today's schema and may write.
  SqliteKeyStore(SqliteDb db, const SqliteOptions& options);

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
  Coordination& coordination() override;

  // Transactions committed by this store: each has cost one fsync, however many calls it served.
  std::uint64_t commits() const { return writer_.commits(); }

 private:
  const std::string path_;
  const bool skip_own_changes_;
  ReaderPool readers_;
  Writer writer_;
  SqliteCoordination coordination_;
};

}  // namespace betrace::kms
