#include "stores/sqlite_key_store.h"

#include <utility>

#include <fmt/format.h>

#include "base/try.h"
#include "stores/records.h"
#include "stores/sqlite_read.h"
#include "stores/sqlite_write.h"

namespace betrace::kms {
namespace {

SqliteDb::Options reader_options(const SqliteDb& db, const SqliteOptions& options) {
  return {.path = db.path(),
          .identity = db.identity(),
          .busy_timeout = options.busy_timeout,
          .query_only = true};
}

}  // namespace

ReaderPool::ReaderPool(SqliteDb::Options options, std::size_t size)
    : options_(std::move(options)), size_(size == 0 ? 1 : size) {}

Result<std::unique_ptr<SqliteDb>> ReaderPool::take() {
  {
    std::unique_lock lock(mutex_);
    returned_.wait(lock, [&] { return !idle_.empty() || open_ < size_; });
    if (!idle_.empty()) {
      auto db = std::move(idle_.back());
      idle_.pop_back();
      return db;
    }
    ++open_;
  }
  auto db = SqliteDb::open(options_);
  if (db) return std::make_unique<SqliteDb>(*std::move(db));
  const std::lock_guard lock(mutex_);
  --open_;
  returned_.notify_one();
  return std::unexpected(std::move(db).error());
}

void ReaderPool::give_back(std::unique_ptr<SqliteDb> db) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(db));
  returned_.notify_one();
}

template <class Read>
auto ReaderPool::with(Read&& read) -> decltype(read(std::declval<SqliteDb&>())) {
  auto db = TRY(take());
  auto answer = read(*db);
  give_back(std::move(db));
  return answer;
}

SqliteKeyStore::SqliteKeyStore(SqliteDb db, const SqliteOptions& options)
    : path_(db.path()),
      skip_own_changes_(options.skip_own_changes),
      readers_(reader_options(db, options), options.readers),
      writer_(std::move(db)) {}

std::string SqliteKeyStore::description() const { return fmt::format("SQLite at {}", path_); }

Status SqliteKeyStore::create_tenant(const CallContext&, const TenantRecord& tenant,
                                     std::span<const KeyRecord> keys) {
  TRY(check_new_tenant(tenant, keys));
  return writer_.run([&](SqliteDb& db) { return sqlite::create_tenant(db, tenant, keys); });
}

Result<TenantRecord> SqliteKeyStore::find_tenant(const CallContext&, const TenantId& tenant) {
  return readers_.with([&](SqliteDb& db) { return sqlite::find_tenant(db, tenant); });
}

Result<std::vector<TenantRecord>> SqliteKeyStore::list_tenants(const CallContext&,
                                                               const Page& page) {
  return readers_.with([&](SqliteDb& db) { return sqlite::list_tenants(db, page); });
}

Status SqliteKeyStore::insert_service_key(const CallContext&, const KeyRecord& key) {
  TRY(check_service_key(key));
  return writer_.run([&](SqliteDb& db) { return sqlite::insert_service_key(db, key); });
}

Result<KeyRecord> SqliteKeyStore::find_active_key(const CallContext&, const TenantId& tenant,
                                                  KeyType type) {
  return readers_.with([&](SqliteDb& db) { return sqlite::find_active_key(db, tenant, type); });
}

Result<KeyRecord> SqliteKeyStore::find_key(const CallContext&, const TenantId& tenant, KeyType type,
                                           std::uint32_t version) {
  return readers_.with([&](SqliteDb& db) { return sqlite::find_key(db, tenant, type, version); });
}

Result<std::vector<KeyRecord>> SqliteKeyStore::list_keys(const CallContext&,
                                                         const TenantId& tenant) {
  return readers_.with([&](SqliteDb& db) { return sqlite::list_keys(db, tenant); });
}

Status SqliteKeyStore::rotate(const CallContext&, std::span<const KeyRecord> successors) {
  TRY(check_successors(successors));
  return writer_.run([&](SqliteDb& db) { return sqlite::rotate(db, successors); });
}

Status SqliteKeyStore::change_state(const CallContext&, const KeyId& key, KeyState from,
                                    KeyState to, SystemTime at, std::string_view reason) {
  const sqlite::StateChange change{.key = key, .from = from, .to = to, .at = at, .reason = reason};
  return writer_.run([&](SqliteDb& db) { return sqlite::change_state(db, change); });
}

// Asked often, and so the place to notice a file that was taken away: a reader would go on with the
// old one for ever.
Result<Changes> SqliteKeyStore::changes_since(const CallContext&, std::uint64_t generation) {
  return readers_.with([&](SqliteDb& db) -> Result<Changes> {
    TRY(db.check_in_place());
    return sqlite::changes_since(db, generation,
                                 skip_own_changes_ ? &writer_.own_writes() : nullptr);
  });
}

Result<std::uint64_t> SqliteKeyStore::generation(const CallContext&) {
  return readers_.with([](SqliteDb& db) { return sqlite::generation(db); });
}

Status SqliteKeyStore::touch(const CallContext&,
                             std::span<const std::pair<TenantId, SystemTime>> activity) {
  if (activity.empty()) return {};
  return writer_.run([&](SqliteDb& db) { return sqlite::touch(db, activity); });
}

Result<std::vector<TenantId>> SqliteKeyStore::recently_active(const CallContext&,
                                                              std::size_t limit) {
  return readers_.with([&](SqliteDb& db) { return sqlite::recently_active(db, limit); });
}

Result<std::uint64_t> SqliteKeyStore::reserve(const CallContext&, std::string_view counter,
                                              std::uint64_t count, std::uint64_t limit) {
  std::uint64_t first = 0;
  TRY(writer_.run([&](SqliteDb& db) -> Status {
    first = TRY(sqlite::reserve(db, counter, count, limit));
    return {};
  }));
  return first;
}

Result<StoreCounts> SqliteKeyStore::counts(const CallContext&) {
  return readers_.with([](SqliteDb& db) { return sqlite::counts(db); });
}

Result<bool> SqliteKeyStore::has_wrappings_by(const CallContext&, std::string_view provider) {
  return readers_.with([&](SqliteDb& db) { return sqlite::has_wrappings_by(db, provider); });
}

}  // namespace betrace::kms
