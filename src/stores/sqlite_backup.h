// Copies of the embedded store, and putting one in its place. Each function blocks on the disk;
// none keeps anything open.
//
// Errors of every function: store_unavailable, in the words of the store; conflict where said.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "betrace/kms/key_store.h"

namespace betrace::kms {

// Pages copied and pages in all.
using CopyProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

// Copies the store `from`, as it is at one moment, into a new file `to` (mode 0600, one file
// without a log), while daemons go on using it. Appears whole or not at all. Errors: conflict when
// `to` exists.
Status copy_sqlite_store(const std::string& from, const std::string& to,
                         const CopyProgress& progress);

// A store that is only read, and whose schema is as old as it is: a backup. Errors: conflict when
// another release's schema makes that impossible.
Result<std::unique_ptr<KeyStore>> open_sqlite_store_read_only(const std::string& path);

// What SQLite's integrity_check says; empty when all is well.
Result<std::vector<std::string>> integrity_of_sqlite_store(const std::string& path);

// A store that nobody else has open, made one file without a log and kept from being written until
// this goes: a daemon that starts meanwhile is told that it is locked. Others may read it.
class StoreClaim {
 public:
  // Errors: conflict when somebody has it open.
  static Result<StoreClaim> take(const std::string& path);
  ~StoreClaim();
  StoreClaim(StoreClaim&& other) noexcept;
  StoreClaim& operator=(StoreClaim&& other) noexcept;

 private:
  class Holder;
  explicit StoreClaim(std::unique_ptr<Holder> holder);
  std::unique_ptr<Holder> holder_;
};

// What a restored store must not repeat: reserved numbers and the count of changes go on from the
// further of its own and `floors`; leases and nodes of the past are forgotten. Every daemon that
// follows it drops what it has cached. Nobody may have it open.
struct StoreFloors {
  std::uint64_t generation = 0;
  std::uint64_t epoch = 0;
  std::string counters_of;  // the path of a store whose counters are floors, too; empty: none
};
Status raise_sqlite_store(const std::string& path, const StoreFloors& floors);

// `fresh`, which nobody has open, takes the place of `path`. What was there, claimed or damaged, is
// kept as `kept`, with its log if it has one; empty: nothing was there. Errors: conflict when
// something has appeared there meanwhile.
Status swap_sqlite_store(const std::string& fresh, const std::string& path,
                         const std::string& kept);

// Takes away what a copy or a restore that was killed has left beside `path`: it holds wrapped
// keys.
void remove_restore_leftovers(const std::string& path);
// Where a restore prepares what takes the place of `path`.
std::string restore_draft(const std::string& path);

}  // namespace betrace::kms
