#include "stores/sqlite_backup.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/durable_file.h"
#include "base/encoding.h"
#include "base/try.h"
#include "stores/migrations.h"
#include "stores/sqlite_db.h"
#include "stores/sqlite_key_store.h"
#include "stores/sqlite_store.h"

namespace betrace::kms {
namespace {

namespace fs = std::filesystem;

std::unexpected<Error> failed(std::string_view verb, const std::string& path) {
  return fail(ErrorCode::store_unavailable,
              fmt::format("cannot {} {}: {}", verb, path, std::generic_category().message(errno)));
}

Result<SqliteDb> open_existing(const std::string& path, bool query_only) {
  std::error_code error;
  const auto file = fs::absolute(path, error).lexically_normal();
  if (error || !fs::is_regular_file(file, error)) {
    return fail(ErrorCode::store_unavailable, fmt::format("{} is not a file", path));
  }
  auto db = TRY(SqliteDb::open({.path = file.native(), .query_only = query_only}));
  TRY(check_ours(db));
  return db;
}

std::string folder_of(const std::string& path) {
  const auto folder = fs::path(path).parent_path().native();
  return folder.empty() ? "." : folder;
}

// Empty, and readable by nobody else.
Status make_empty(const std::string& path) {
  const int made = ::open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  if (made < 0) return failed("make", path);
  const bool given = give_to_owner_of(made, folder_of(path));
  return ::close(made) == 0 && given ? Status{} : failed("make", path);
}

constexpr const char* parts_of_a_store[] = {"", "-journal", "-wal", "-shm"};

void remove_store(const std::string& path) {
  for (const auto* each : parts_of_a_store) ::unlink((path + each).c_str());
}

Status copy_into(const std::string& from, const std::string& draft, const CopyProgress& progress) {
  auto source = TRY(open_existing(from, true));
  TRY(make_empty(draft));
  auto copy = TRY(SqliteDb::open({.path = draft}));
  TRY(copy.copy_from(source, progress));
  TRY(copy.execute("PRAGMA journal_mode = DELETE"));
  auto check = copy.query("PRAGMA quick_check(1)");
  if (!TRY(check.step()) || check.text(0) != "ok") {
    return fail(ErrorCode::store_unavailable,
                fmt::format("the store {} is damaged: {}", from, check.text(0)));
  }
  return {};
}

Status sync_file(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return failed("read", path);
  const bool synced = ::fsync(file) == 0;
  ::close(file);
  return synced ? Status{} : failed("write", path);
}

std::unexpected<Error> exists(const std::string& path) {
  return fail(ErrorCode::conflict,
              fmt::format("{} exists: a backup never replaces a file. Give another name", path));
}

}  // namespace

Status copy_sqlite_store(const std::string& from, const std::string& to,
                         const CopyProgress& progress) {
  std::error_code error;
  if (fs::exists(to, error)) return exists(to);
  std::array<std::uint8_t, 4> unique{};
  random_bytes(unique);
  const auto draft = fmt::format("{}.{}.partial", to, hex_encode(unique));
  auto copied = copy_into(from, draft, progress);
  if (copied) copied = sync_file(draft);
  if (copied) {
    errno = rename_without_replacing(draft, to);
    if (errno == EEXIST) {
      copied = exists(to);
    } else if (errno != 0) {
      copied = failed("make", to);
    }
  }
  remove_store(draft);
  TRY(copied);
  return sync_folder(folder_of(to));
}

Result<std::unique_ptr<KeyStore>> open_sqlite_store_read_only(const std::string& path) {
  auto db = TRY(open_existing(path, true));
  if (!TRY(has_newest_schema(db))) {
    return fail(
        ErrorCode::conflict,
        fmt::format("{} has the schema of an older release; restore brings it up to date", path));
  }
  const SqliteOptions options{.path = path, .readers = 1};
  return std::make_unique<SqliteKeyStore>(std::move(db), options);
}

Result<std::vector<std::string>> integrity_of_sqlite_store(const std::string& path) {
  auto db = TRY(open_existing(path, true));
  std::vector<std::string> found;
  auto rows = db.query("PRAGMA integrity_check");
  while (TRY(rows.step())) {
    if (rows.text(0) != "ok") found.emplace_back(rows.text(0));
  }
  return found;
}

class StoreClaim::Holder {
 public:
  explicit Holder(SqliteDb db) : db_(std::move(db)) {}
  // A store becomes one without a log only while nobody else has it open. The lock that follows
  // keeps daemons away, because each begins by giving it a log again.
  Status hold() {
    {
      auto mode = db_.query("PRAGMA journal_mode = DELETE");
      const auto row = mode.step();
      if (!row && mode.busy()) return in_use();
      if (!row) return std::unexpected(row.error());
      if (mode.text(0) != "delete") return in_use();
    }
    if (const auto begun = db_.execute("BEGIN IMMEDIATE"); !begun) return in_use();
    auto mode = db_.query("PRAGMA journal_mode");
    if (!TRY(mode.step()) || mode.text(0) != "delete") return in_use();
    return {};
  }

 private:
  std::unexpected<Error> in_use() const {
    return fail(ErrorCode::conflict,
                fmt::format("the store {} is in use: stop every betrace-kms and sqlite3 shell that "
                            "has it open (fuser {})",
                            db_.path(), db_.path()));
  }
  SqliteDb db_;
};

StoreClaim::StoreClaim(std::unique_ptr<Holder> holder) : holder_(std::move(holder)) {}
StoreClaim::StoreClaim(StoreClaim&& other) noexcept = default;
StoreClaim& StoreClaim::operator=(StoreClaim&& other) noexcept = default;
StoreClaim::~StoreClaim() = default;

Result<StoreClaim> StoreClaim::take(const std::string& path) {
  auto holder = std::make_unique<Holder>(TRY(open_existing(path, false)));
  TRY(holder->hold());
  return StoreClaim(std::move(holder));
}

Status raise_sqlite_store(const std::string& path, const StoreFloors& floors) {
  auto db = TRY(open_existing(path, false));
  // In one file; a rollback journal in the file system would hold the pages as they were.
  TRY(db.execute("PRAGMA journal_mode = DELETE; PRAGMA journal_mode = MEMORY"));
  if (!floors.counters_of.empty()) {
    TRY(db.query("ATTACH DATABASE ?1 AS past", std::string_view(floors.counters_of)).run());
  }
  // Not IMMEDIATE, which would lock the past one as well, and somebody holds it.
  TRY(db.execute("BEGIN"));
  if (!floors.counters_of.empty()) {
    TRY(
        db.execute("INSERT INTO counters SELECT name, value FROM past.counters WHERE true"
                   " ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)"));
  }
  TRY(db.query("INSERT INTO counters (name, value) VALUES ('epoch', ?1)"
               " ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
               static_cast<std::int64_t>(floors.epoch))
          .run());
  // Older rows go, so that the log no longer reaches back to what anybody has followed.
  TRY(db.query("INSERT INTO changes (generation, tenant)"
               " SELECT max(coalesce(max(generation), 0), ?1) + 1, '@service' FROM changes",
               static_cast<std::int64_t>(floors.generation))
          .run());
  TRY(
      db.execute("DELETE FROM changes WHERE generation < (SELECT max(generation) FROM changes);"
                 "DELETE FROM leases; DELETE FROM nodes; COMMIT"));
  return {};
}

Status swap_sqlite_store(const std::string& fresh, const std::string& path,
                         const std::string& kept) {
  TRY(sync_file(fresh));
  if (kept.empty()) {
    errno = rename_without_replacing(fresh, path);
    if (errno == EEXIST) return exists(path);
    if (errno != 0) return failed("make", path);
    return sync_folder(folder_of(path));
  }
  // Some file systems have no second names for a file.
  if (::link(path.c_str(), kept.c_str()) != 0 && std::rename(path.c_str(), kept.c_str()) != 0) {
    return failed("keep", kept);
  }
  // A claimed store has none; SQLite would take a damaged one's for the new store's.
  for (const auto* each : {"-wal", "-shm", "-journal"}) {
    std::rename((path + each).c_str(), (kept + each).c_str());
  }
  if (std::rename(fresh.c_str(), path.c_str()) != 0) return failed("replace", path);
  return sync_folder(folder_of(path));
}

std::string restore_draft(const std::string& path) { return path + ".restoring"; }

void remove_restore_leftovers(const std::string& path) {
  const auto beginning = fs::path(restore_draft(path)).filename().native();
  std::error_code error;
  for (const auto& each : fs::directory_iterator(folder_of(path), error)) {
    if (each.path().filename().native().starts_with(beginning)) fs::remove(each.path(), error);
  }
}

}  // namespace betrace::kms
