// What was acknowledged and has yet to reach its place: an append-only file of records on this
// machine's disk. Batches are on the disk before they are answered, those that arrive together with
// one write; each consumer reads at its own pace from its own position, and what all have passed is
// removed. Bounded: beyond that, callers are told to slow down, and nothing is dropped.
// Thread-safe; one process at a time has a folder open.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "betrace/kms/result.h"

#include "evidence/journal_segment.h"

namespace betrace::kms {

struct JournalOptions {
  std::string folder;                  // is made when it is not there; 0700
  std::vector<std::string> consumers;  // at least one
  std::uint64_t bytes_max = 1U << 30;  // from the slowest consumer's position to the end
  std::uint64_t segment_bytes = 64U << 20;
};

class Journal {
 public:
  // Errors: store_unavailable; corrupt, naming file and place; invalid_argument without consumers.
  static Result<std::unique_ptr<Journal>> open(JournalOptions options,
                                               JournalDisk disk = JournalDisk::real());
  // Writes what is queued.
  ~Journal();

  // Called on the journal's thread, in the order of what is written, just before it is: what is
  // numbered there is numbered without gaps. An error refuses this batch and no other. Not called
  // when the journal is full by then.
  using Make = std::move_only_function<Result<std::vector<JournalRecord>>()>;
  // `done` is called on the journal's thread, when the batch is on the disk, with the position
  // behind it; a refusal may come before append() returns. Errors: overloaded when the journal is
  // full; store_unavailable, and then nothing of the batch is there, unless the process ends before
  // what a failed write left could be cut off: then it may be there, whole; payload_too_large;
  // those of `make`.
  void append(Make make, Done<JournalPosition> done);

  // Batches from there on, `bytes_max` or one of them; none at the end. `from` is the start, the
  // `next` of another read or a consumer's position. Errors: store_unavailable; corrupt;
  // invalid_argument for what all have passed.
  Result<JournalSegment::Batches> read(JournalPosition from, std::size_t bytes_max) const;
  // False when nothing came until `stop` or the end of `time`.
  bool wait_for_more(JournalPosition from, std::chrono::milliseconds time,
                     const std::stop_token& stop) const;

  JournalPosition end() const;  // of what is on the disk
  JournalPosition position(const std::string& consumer) const;
  // After a crash a consumer may see batches again, and never misses one. Errors:
  // store_unavailable; invalid_argument.
  Status advance(const std::string& consumer, JournalPosition position);
  std::uint64_t bytes_behind(const std::string& consumer) const;

 private:
  struct Job {
    Make make;
    Done<JournalPosition> done;
  };
  Journal(JournalOptions options, JournalDisk disk);
  Status load();
  Status load_positions();
  void run(const std::stop_token& stop);
  Status queue(Job& job);
  void commit(std::deque<Job> jobs);
  Status add(Make& make, JournalPosition begin);
  Status write();
  Status repair();
  Status remove_passed();
  Status add_segment(JournalPosition first);
  JournalPosition slowest() const;
  Error full() const;

  const JournalOptions options_;
  const JournalDisk disk_;
  bool broken_ = false;  // after a failed write; this and the next for the journal's thread
  std::string batches_;

  mutable std::mutex mutex_;
  mutable std::condition_variable_any wake_, grown_;
  std::map<JournalPosition, std::shared_ptr<JournalSegment>> segments_;  // by first position
  JournalPosition end_ = 0;
  std::map<std::string, JournalPosition> positions_;
  std::deque<Job> jobs_;
  std::mutex advancing_;  // held while the positions' file is written
  std::jthread thread_;
};

}  // namespace betrace::kms
