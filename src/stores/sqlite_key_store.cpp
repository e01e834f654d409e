#include "stores/sqlite_key_store.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/try.h"
#include "stores/records.h"
#include "stores/sqlite_commit.h"
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

SqliteKeyStore::SqliteKeyStore(SqliteDb db, const SqliteOptions& options)
    : path_(db.path()),
      skip_own_changes_(options.skip_own_changes),
      readers_(reader_options(db, options), options.readers),
      writer_(std::move(db)),
      coordination_(readers_, writer_,
                    options.lease_clock ? options.lease_clock : machine_lease_time) {}

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

Status SqliteKeyStore::commit(const CallContext&, const Commit& commit) {
  const auto now = coordination_.now();
  return writer_.run([&](SqliteDb& db) { return sqlite::apply(db, commit, now); });
}

std::vector<Status> SqliteKeyStore::commit_each(const CallContext&,
                                                std::span<const Commit> commits) {
  const auto now = coordination_.now();
  std::vector<Writer::Job> jobs;
  for (const auto& commit : commits) {
    jobs.emplace_back([&](SqliteDb& db) { return sqlite::apply(db, commit, now); });
  }
  return writer_.run_each(jobs);
}

Result<std::vector<KeyRecord>> SqliteKeyStore::keys_created_before(const CallContext&,
                                                                   SystemTime before,
                                                                   const AgePlace& after,
                                                                   std::size_t limit) {
  return readers_.with(
      [&](SqliteDb& db) { return sqlite::keys_created_before(db, before, after, limit); });
}

Result<std::uint64_t> SqliteKeyStore::count_tenants_with_keys_before(const CallContext&,
                                                                     SystemTime before) {
  return readers_.with(
      [&](SqliteDb& db) { return sqlite::count_tenants_with_keys_before(db, before); });
}

Result<std::vector<Replacement>> SqliteKeyStore::replacements_between(const CallContext&,
                                                                      SystemTime from,
                                                                      SystemTime to,
                                                                      std::size_t limit) {
  return readers_.with(
      [&](SqliteDb& db) { return sqlite::replacements_between(db, from, to, limit); });
}

Result<std::vector<KeyRecord>> SqliteKeyStore::retired_seeds(const CallContext&, SystemTime before,
                                                             std::size_t limit) {
  return readers_.with([&](SqliteDb& db) { return sqlite::retired_seeds(db, before, limit); });
}

Result<std::vector<KeyRecord>> SqliteKeyStore::keys_not_wrapped_by(
    const CallContext&, std::span<const MasterKey> masters, const KeyId& after, std::size_t limit) {
  return readers_.with(
      [&](SqliteDb& db) { return sqlite::keys_not_wrapped_by(db, masters, after, limit); });
}

Result<std::uint64_t> SqliteKeyStore::count_keys_not_wrapped_by(
    const CallContext&, std::span<const MasterKey> masters) {
  return readers_.with(
      [&](SqliteDb& db) { return sqlite::count_keys_not_wrapped_by(db, masters); });
}

Result<std::vector<WrappingCount>> SqliteKeyStore::wrapping_counts(const CallContext&) {
  return readers_.with([](SqliteDb& db) { return sqlite::wrapping_counts(db); });
}

Result<std::optional<std::string>> SqliteKeyStore::find_note(const CallContext&,
                                                             std::string_view name) {
  return readers_.with([&](SqliteDb& db) { return sqlite::find_note(db, name); });
}

Result<std::vector<std::pair<std::string, std::string>>> SqliteKeyStore::list_notes(
    const CallContext&, std::string_view prefix, std::string_view after, std::size_t limit) {
  return readers_.with([&](SqliteDb& db) { return sqlite::list_notes(db, prefix, after, limit); });
}

// A checkpoint may be made by any connection, and must be made outside a transaction.
Result<bool> SqliteKeyStore::scrub(const CallContext&) {
  return readers_.with([](SqliteDb& db) -> Result<bool> {
    auto row = db.query("PRAGMA wal_checkpoint(TRUNCATE)");
    TRY(row.step());
    return row.integer(0) == 0;
  });
}

Coordination& SqliteKeyStore::coordination() { return coordination_; }

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

}  // namespace betrace::kms
