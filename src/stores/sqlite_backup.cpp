#include "stores/sqlite_backup.h"

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/durable_file.h"
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

// Empty, and readable by nobody else.
Status make_empty(const std::string& path) {
  const int made = ::open(path.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (made < 0) return failed("make", path);
  const bool closed = ::fchmod(made, 0600) == 0 && ::close(made) == 0;
  return closed ? Status{} : failed("make", path);
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

std::string folder_of(const std::string& path) {
  const auto folder = fs::path(path).parent_path().native();
  return folder.empty() ? "." : folder;
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
  const auto draft = to + ".partial";
  auto copied = copy_into(from, draft, progress);
  if (copied) copied = sync_file(draft);
  // link(2) does not replace: of two writers the first wins.
  if (copied && ::link(draft.c_str(), to.c_str()) != 0) {
    if (errno == EEXIST) {
      copied = exists(to);
    } else {
      copied = failed("make", to);
    }
  }
  for (const auto* each : {"", "-journal", "-wal", "-shm"}) ::unlink((draft + each).c_str());
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

Status settle_sqlite_store(const std::string& path) {
  auto db = TRY(open_existing(path, false));
  auto mode = db.query("PRAGMA journal_mode = DELETE");
  const auto row = mode.step();
  if (row && mode.text(0) == "delete") return {};
  if (!row && !mode.busy()) return std::unexpected(row.error());
  return fail(ErrorCode::conflict,
              fmt::format("the store {} is in use: stop every betrace-kms and sqlite3 shell that "
                          "has it open (fuser {})",
                          path, path));
}

Status raise_sqlite_store(const std::string& path, const StoreFloors& floors) {
  auto db = TRY(open_existing(path, false));
  // A rollback journal in the file system would hold the pages as they were.
  TRY(db.execute("PRAGMA journal_mode = MEMORY"));
  if (!floors.counters_of.empty()) {
    TRY(db.query("ATTACH DATABASE ?1 AS past", std::string_view(floors.counters_of)).run());
  }
  TRY(db.execute("BEGIN IMMEDIATE"));
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
  if (!kept.empty() && ::link(path.c_str(), kept.c_str()) != 0) return failed("keep", kept);
  if (std::rename(fresh.c_str(), path.c_str()) != 0) return failed("replace", path);
  // Of the file that was there; SQLite would take them for the new one's.
  for (const auto* each : {"-wal", "-shm", "-journal"}) ::unlink((path + each).c_str());
  return sync_folder(folder_of(path));
}

}  // namespace betrace::kms
