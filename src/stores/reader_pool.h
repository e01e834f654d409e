// Connections for reading, opened when they are first needed. Thread-safe.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/try.h"
#include "stores/sqlite_db.h"

namespace betrace::kms {

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

template <class Read>
auto ReaderPool::with(Read&& read) -> decltype(read(std::declval<SqliteDb&>())) {
  auto db = TRY(take());
  auto answer = read(*db);
  give_back(std::move(db));
  return answer;
}

}  // namespace betrace::kms
