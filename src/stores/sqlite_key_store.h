// KeyStore on SQLite: which connection does what. The statements are in sqlite_read.h and
// sqlite_write.h.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "betrace/kms/key_store.h"

#include "stores/sqlite_db.h"
#include "stores/sqlite_store.h"
#include "stores/writer.h"

namespace betrace::kms {

// Connections for reading, opened when they are first needed. Thread-safe.
class ReaderPool {
 public:
  ReaderPool(SqliteDb::Options options, std::size_t size);
  // Calls `read` with a connection of its own; waits while all are taken.
  template <class Read>
  auto with(Read&& read) -> decltype(read(std::declval<SqliteDb&>()));

 private:
  Result<std::unique_ptr<SqliteDb>> take();
  void give_back(std::unique_ptr<SqliteDb> db);

  const SqliteDb::Options options_;
  const std::size_t size_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<SqliteDb>> idle_;
  std::size_t open_ = 0;
};

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

  // Transactions committed by this store: each has cost one fsync, however many calls it served.
  std::uint64_t commits() const { return writer_.commits(); }

 private:
  const std::string path_;
  const bool skip_own_changes_;
  ReaderPool readers_;
  Writer writer_;
};

}  // namespace betrace::kms
