// A disk for SQLite that fails when a test says so, and that knows what a crash would leave: while
// one lives it is SQLite's default, and what a store writes into its folder passes through it.
// Nothing is flushed to the machine's disk; the model keeps what each file would hold after a power
// failure. Like Linux, it forgets what a failed fsync did not write: the next one does not write it
// either. The -shm file is memory, not disk: it is in no image. Thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sqlite3.h>

namespace betrace::kms::testing {

struct DiskFault {
  enum class Kind : std::uint8_t {
    short_write,  // half is written, then EIO
    io_error,     // EIO of a write, a truncation, a deletion, a new file, the shared memory
    full,         // ENOSPC of a write, a new file, the shared memory
    failed_sync,  // EIO of fsync
  };
  Kind kind = Kind::io_error;
  std::uint64_t at = 1;     // the first call of those that `kind` can fail
  bool persistent = false;  // and all after it
};
std::string_view to_string(DiskFault::Kind kind);

class FaultVfs {
 public:
  explicit FaultVfs(std::filesystem::path folder);
  FaultVfs(const FaultVfs&) = delete;
  // No file of the folder may be open.
  ~FaultVfs();

  // `on_fault` is called at the first failure, before the caller learns of it.
  void arm(const DiskFault& fault, std::function<void()> on_fault);
  void disarm();
  bool fired() const;
  // Calls since arm() that its kind can fail.
  std::uint64_t calls() const;

  // What is found in the folder after a crash now.
  enum class Crash : std::uint8_t {
    killed,         // the process alone: everything written is there
    power_lost,     // nothing that no sync has followed
    power_flicker,  // of that some, some in half, whichever came first
  };
  using Image = std::map<std::string, std::string>;  // content by file name
  Image image(Crash crash) const;

  // For the functions that SQLite calls.
  struct Methods;

 private:
  struct Write {
    std::uint64_t offset = 0;
    std::string data;
    bool truncates = false;
  };
  struct Model {
    std::string current, durable;
    std::vector<Write> unsynced;
  };
  enum class Operation : std::uint8_t { write, sync, truncate, create, remove, share };

  static void apply(std::string& content, const Write& write);
  bool holds(std::string_view path) const;
  // What SQLite is told instead, when the call shall fail.
  struct Failure {
    int code = 0;
    bool in_half = false;
  };
  static std::optional<Failure> failure_of(Operation operation, DiskFault::Kind kind);
  std::optional<Failure> strike(Operation operation);
  void opened(const char* path);
  void wrote(const char* path, Write write);
  void synced(const char* path, bool done);
  void removed(const char* path);

  const std::filesystem::path folder_;
  sqlite3_vfs* const real_;
  sqlite3_vfs vfs_;
  mutable std::mutex mutex_;
  std::map<std::string, Model> files_;  // by path
  std::optional<DiskFault> fault_;
  std::function<void()> on_fault_;
  std::uint64_t calls_ = 0;
  bool fired_ = false;
};

}  // namespace betrace::kms::testing
