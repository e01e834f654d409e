#include "stores/writer.h"

#include <algorithm>
#include <utility>

#include <pthread.h>

#include "base/time_slice.h"
#include "base/try.h"
#include "stores/records.h"

namespace betrace::kms {
namespace {

// Keeps a transaction, and with it the memory and the wait of the first caller, small.
constexpr std::size_t batch_max = 256;
constexpr std::size_t batches_between_prunes = 16;
// More than so many batches log: 256 rotations of 6 rows each.
constexpr std::int64_t pruned_at_once = 32768;

}  // namespace

Writer::Writer(SqliteDb db) : db_(std::move(db)), thread_([this] { loop(); }) {
  pthread_setname_np(thread_.native_handle(), "store-writer");
}

Writer::~Writer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_one();
  thread_.join();
}

Status Writer::run(const Job& job) { return std::move(run_each({&job, 1}).front()); }

std::vector<Status> Writer::run_each(std::span<const Job> jobs) {
  Waiting waiting{.jobs = jobs, .results = std::vector<Status>(jobs.size()), .finished = {}};
  std::unique_lock lock(mutex_);
  queue_.push_back(&waiting);
  arrived_.notify_one();
  waiting.finished.wait(lock, [&] { return waiting.done; });
  return std::move(waiting.results);
}

std::size_t Writer::queued() {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

void Writer::loop() {
  take_long_slices();
  std::vector<Waiting*> batch;
  std::unique_lock lock(mutex_);
  for (;;) {
    arrived_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const auto count = static_cast<std::ptrdiff_t>(std::min(queue_.size(), batch_max));
    batch.assign(queue_.begin(), queue_.begin() + count);
    queue_.erase(queue_.begin(), queue_.begin() + count);
    lock.unlock();
    commit_together(batch);
    lock.lock();
    for (auto* each : batch) {
      each->done = true;
      each->finished.notify_one();
    }
  }
}

void Writer::commit_together(const std::vector<Waiting*>& batch) {
  auto outcome = run_jobs(batch);
  if (outcome) {
    commits_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  if (db_.in_transaction()) (void)db_.query("ROLLBACK").run();
  for (auto* each : batch) std::ranges::fill(each->results, outcome);
}

// An error of a job is its own affair; one that is answered here is everybody's.
Status Writer::run_jobs(const std::vector<Waiting*>& batch) {
  TRY(db_.check_in_place());
  TRY(db_.query("BEGIN IMMEDIATE").run());
  const auto before = TRY(newest_change());
  for (auto* each : batch) {
    for (std::size_t i = 0; i < each->jobs.size(); ++i) {
      TRY(run_one(each->jobs[i], each->results[i]));
      let_others_run();
    }
  }
  TRY(prune_changes());
  const auto last = TRY(newest_change());
  TRY(db_.query("COMMIT").run());
  own_writes_.add(before, last);
  return {};
}

Result<std::uint64_t> Writer::newest_change() {
  auto row = db_.query("SELECT max(generation) FROM changes");
  TRY(row.step());
  return static_cast<std::uint64_t>(row.integer(0));
}

// No savepoint lies around that of another: SQLite copies into memory what changes under one, and
// walks through all of it at the end of every statement that has triggers.
Status Writer::run_one(const Job& job, Status& result) {
  TRY(db_.query("SAVEPOINT job").run());
  result = job(db_);
  // A full disk, say, ends the whole transaction, and what was done before it.
  if (!db_.in_transaction()) return result;
  if (!result) TRY(db_.query("ROLLBACK TO job").run());
  return db_.query("RELEASE job").run();
}

// A bounded piece each time: a person with a SQL shell may have logged millions at once.
Status Writer::prune_changes() {
  if (++batches_since_prune_ < batches_between_prunes) return {};
  batches_since_prune_ = 0;
  return db_
      .query(
          "DELETE FROM changes WHERE generation <= min("
          "(SELECT max(generation) FROM changes) - ?1,"
          "(SELECT min(generation) FROM changes) + ?2)",
          static_cast<std::int64_t>(changes_kept), pruned_at_once)
      .run();
}

}  // namespace betrace::kms
