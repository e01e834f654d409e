#include "stores/sqlite_error.h"

#include <cerrno>
#include <system_error>

#include <fmt/format.h>
#include <sqlite3.h>

namespace betrace::kms {
namespace {

struct Advice {
  std::string_view problem;
  std::string_view remedy;
};

Advice cannot_open(int system_error) {
  switch (system_error) {
    case EACCES:
    case EPERM:
      return {"may not be opened by this user", "Give the user the file and its folder (chown)"};
    case EROFS:
      return {"is on a read-only file system", "Remount it read-write"};
    case ENOENT:
      return {"is gone, or its folder is",
              "Put it back, or make the folder (mkdir -p -m 700) and start again"};
    case EMFILE:
    case ENFILE:
      return {"cannot be opened: too many open files", "Raise the limit of open files (ulimit -n)"};
    default:
      return {"cannot be opened",
              "Check that the path is a file and that this user may write it and its folder"};
  }
}

Advice advice(const SqliteFailure& failure) {
  if (failure.code == SQLITE_READONLY_DBMOVED) {
    return {"was moved, replaced or deleted while in use",
            "Put the file back under its path, or restart the daemon to use the new one"};
  }
  switch (failure.code & 0xff) {
    case SQLITE_READONLY:
      return {"is read-only",
              "Give this user write permission on the file and its folder (SQLite keeps a -wal and "
              "a -shm file beside it), or remount the file system read-write"};
    case SQLITE_FULL:
      return {"cannot grow: the disk is full", "Free space on its file system, then try again"};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {
          "is locked by another program",
          "End the open transaction (a sqlite3 shell, a backup); fuser on the file shows whose"};
    case SQLITE_NOTADB:
      return {"is not a SQLite database",
              "Check the path (betrace.kms.store.url), or restore a backup"};
    case SQLITE_CORRUPT:
      return {"is damaged",
              "Keep a copy, look with: sqlite3 FILE 'PRAGMA integrity_check', restore a backup"};
    case SQLITE_CANTOPEN:
      return cannot_open(failure.system_error);
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return cannot_open(EACCES);
    case SQLITE_IOERR:
      if (failure.system_error == ENOSPC || failure.system_error == EDQUOT) {
        return {"cannot grow: the disk is full", "Free space on its file system, then try again"};
      }
      return {"cannot be read or written: input/output error",
              "Check the disk (dmesg); the file must be on a local file system"};
    case SQLITE_NOMEM:
      return {"cannot be used: out of memory", "Give the process more memory"};
    case SQLITE_PROTOCOL:
      return {"is locked in a way that does not end",
              "Check that the file is on a local file system, not on a network share"};
    default:
      return {"cannot be used", "Look with: sqlite3 FILE 'PRAGMA integrity_check'"};
  }
}

}  // namespace

Error sqlite_error(const SqliteFailure& failure) {
  if ((failure.code & 0xff) == SQLITE_CONSTRAINT) {
    return {.code = ErrorCode::conflict,
            .message =
                fmt::format("the store {} refuses this change: {}", failure.path, failure.message)};
  }
  const auto [problem, remedy] = advice(failure);
  std::string system;
  if (failure.system_error != 0) {
    system = fmt::format(", {}", std::generic_category().message(failure.system_error));
  }
  return {.code = ErrorCode::store_unavailable,
          .message = fmt::format("the store {} {}. {}. (SQLite {}: {}{})", failure.path, problem,
                                 remedy, failure.code, failure.message, system)};
}

}  // namespace betrace::kms
