// The embedded store: one SQLite file, in write-ahead mode, that several daemons and a person with
// the sqlite3 shell may use at once. Reads go to a small pool of connections, writes through one
// thread that commits many of them together.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "betrace/kms/key_store.h"

#include "stores/lease_clock.h"

namespace betrace::kms {

struct SqliteOptions {
  std::string path;
  // How long to wait for another program that holds the file.
  std::chrono::milliseconds busy_timeout{2000};
  std::size_t readers = 4;
  // Whether changes_since() leaves out what this store wrote itself.
  bool skip_own_changes = false;
  // The time of leases; the machine's when empty.
  LeaseClock lease_clock = {};
  // The file grows to this many pages of 4 KiB at most; 0 is SQLite's own limit.
  std::uint32_t pages_max = 0;
};

// Makes the file (mode 0600) where there is none and brings its schema up to date. The folder must
// exist. Errors: store_unavailable, whose message says what is wrong with the file and what to do.
Result<std::unique_ptr<KeyStore>> open_sqlite_store(SqliteOptions options);

}  // namespace betrace::kms
