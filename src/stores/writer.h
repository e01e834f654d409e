// The one writer of a SQLite file. Jobs that arrive while the disk is busy wait together and are
// committed together, so that a hundred callers pay for one fsync and not for a hundred. Each job
// has a savepoint of its own: its failure undoes it alone. Thread-safe.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "betrace/kms/result.h"

#include "stores/own_writes.h"
#include "stores/sqlite_db.h"

namespace betrace::kms {

class Writer {
 public:
  // Runs on the writer's thread, in a transaction. Must not keep a Query.
  using Job = std::function<Status(SqliteDb& db)>;

  explicit Writer(SqliteDb db);
  // No call may be in progress.
  ~Writer();

  // Returns when the job is durable, or nobody sees it. Errors: the job's own; store_unavailable,
  // after which the next opening of the file may find it done, whole: when fsync fails, the log has
  // it already.
  Status run(const Job& job);
  // Several jobs in one transaction, each undone alone when it fails; answers what became of each.
  std::vector<Status> run_each(std::span<const Job> jobs);

  // Jobs that wait for the transaction in progress to end.
  std::size_t queued();
  const OwnWrites& own_writes() const { return own_writes_; }
  // Transactions that were made durable.
  std::uint64_t commits() const { return commits_.load(std::memory_order_relaxed); }

 private:
  struct Waiting {
    std::span<const Job> jobs;
    std::vector<Status> results;
    bool done = false;
    std::condition_variable finished;
  };

  void loop();
  void commit_together(const std::vector<Waiting*>& batch);
  Status run_jobs(const std::vector<Waiting*>& batch);
  Status run_one(const Job& job, Status& result);
  Status prune_changes();
  Result<std::uint64_t> newest_change();

  SqliteDb db_;
  OwnWrites own_writes_;
  std::size_t batches_since_prune_ = 0;
  std::atomic<std::uint64_t> commits_ = 0;

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<Waiting*> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace betrace::kms
