#include "stores/sqlite_store.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/try.h"
#include "stores/migrations.h"
#include "stores/sqlite_error.h"
#include "stores/sqlite_key_store.h"

namespace betrace::kms {
namespace {

namespace fs = std::filesystem;

std::unexpected<Error> refused(const fs::path& path, int system_error) {
  const int code = system_error == EROFS                              ? SQLITE_READONLY
                   : system_error == ENOSPC || system_error == EDQUOT ? SQLITE_FULL
                                                                      : SQLITE_CANTOPEN;
  return std::unexpected(sqlite_error({.code = code,
                                       .path = path.native(),
                                       .message = "before it was opened",
                                       .system_error = system_error}));
}

Status check_folder(const fs::path& file) {
  const auto folder = file.parent_path();
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    return fail(ErrorCode::store_unavailable,
                fmt::format("the folder {} of the store {} does not exist. Make it: mkdir -p -m "
                            "700 {}",
                            folder.native(), file.native(), folder.native()));
  }
  if (::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) == 0) return {};
  return fail(ErrorCode::store_unavailable,
              fmt::format("the folder {} of the store {} may not be written by user id {}: {}. "
                          "SQLite keeps files beside the store's; give the user the folder (chown)",
                          folder.native(), file.native(), ::geteuid(), std::strerror(errno)));
}

// Made here, because SQLite would make it readable by others; its own files take the same mode.
Status make_file(const fs::path& file) {
  const int made = ::open(file.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  if (made >= 0) {
    ::close(made);
    return {};
  }
  if (errno != EEXIST) return refused(file, errno);
  struct stat status{};
  if (::stat(file.c_str(), &status) != 0) return refused(file, errno);
  if (!S_ISREG(status.st_mode)) {
    return fail(ErrorCode::store_unavailable,
                fmt::format("the store {} is not a file. Check the path (betrace.kms.store.url)",
                            file.native()));
  }
  if (::faccessat(AT_FDCWD, file.c_str(), R_OK | W_OK, AT_EACCESS) == 0) return {};
  if (errno == EROFS || ::faccessat(AT_FDCWD, file.c_str(), R_OK, AT_EACCESS) == 0) {
    return refused(file, EROFS);
  }
  return refused(file, errno);
}

// SQLite does not wait for the lock that the change of mode needs, so that of two daemons that make
// a store at once, one is told it is busy.
Status use_write_ahead_log(SqliteDb& db, std::chrono::milliseconds patience) {
  const auto give_up = std::chrono::steady_clock::now() + patience;
  for (;;) {
    auto mode = db.query("PRAGMA journal_mode = WAL");
    const auto row = mode.step();
    if (row && mode.text(0) == "wal") return {};
    if (row) {
      return fail(ErrorCode::store_unavailable,
                  fmt::format("the store {} cannot have a write-ahead log (its mode stays '{}'). "
                              "Put it on a local file system",
                              db.path(), mode.text(0)));
    }
    if (!mode.busy() || std::chrono::steady_clock::now() >= give_up) {
      return std::unexpected(row.error());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace

Result<std::unique_ptr<KeyStore>> open_sqlite_store(SqliteOptions options) {
  std::error_code error;
  // Absolute, so that it stays the same file and no name is special to SQLite.
  const auto file = fs::absolute(options.path, error).lexically_normal();
  if (options.path.empty() || error) {
    return fail(ErrorCode::store_unavailable,
                fmt::format("'{}' is not the path of a store", options.path));
  }
  TRY(check_folder(file));
  TRY(make_file(file));
  auto db = TRY(SqliteDb::open(
      {.path = file.native(), .busy_timeout = options.busy_timeout, .cache_kib = 1024}));
  TRY(use_write_ahead_log(db, options.busy_timeout));
  TRY(migrate(db));
  // The file of the log shrinks to this after a burst has made it grow.
  TRY(db.execute("PRAGMA journal_size_limit = 8388608"));
  if (options.pages_max != 0) {
    TRY(db.execute(fmt::format("PRAGMA max_page_count = {}", options.pages_max).c_str()));
  }
  return std::make_unique<SqliteKeyStore>(std::move(db), options);
}

}  // namespace betrace::kms
