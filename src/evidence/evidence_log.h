// The log of signed evidence: for each tenant an append-only Merkle tree, on disk as tlog-tiles,
// with checkpoints that a key of the log's own signs. A leaf is acknowledged when the journal has
// it; tiles and checkpoints follow on a timer or when there are many, and can be made again from
// the journal. Thread-safe; one process at a time has a folder open.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"
#include "betrace/kms/tenant.h"

#include "base/durable_file.h"
#include "evidence/checkpoint.h"
#include "evidence/journal.h"
#include "evidence/log_key.h"
#include "evidence/merkle.h"
#include "evidence/tiles.h"
#include "telemetry/metrics.h"

namespace betrace::kms {

struct EvidenceLogOptions {
  std::string folder;
  std::string name = "betrace-kms";  // of a new log; something random is put behind it
  std::chrono::milliseconds interval{60'000};
  std::uint64_t leaves_max = 10'000;  // a checkpoint is due earlier than the interval
  std::uint64_t journal_bytes_max = 1U << 30;
  std::uint64_t unpublished_bytes_max = 256U << 20;  // in memory
  std::vector<std::string> consumers;                // of the journal, besides the log
};

class EvidenceLog {
 public:
  struct Published {  // what a tenant's log has been said to be
    TenantId tenant = TenantId::service();
    Checkpoint checkpoint;
    std::string note;
  };
  struct Parts {
    LogKeySeal seal;
    const Clock& clock;  // it and the metrics must outlive the log
    Metrics& metrics;
    // Told of every checkpoint, on the log's thread.
    std::function<void(const Published&)> on_checkpoint = {};
  };
  // A kind of record in the journal; others' are theirs.
  static constexpr std::uint8_t leaf_record = 1;

  // The key is opened when it is needed first, so that a provider that is away keeps nobody from
  // starting. Errors: store_unavailable; conflict when another process has the folder; corrupt.
  static Result<std::unique_ptr<EvidenceLog>> open(EvidenceLogOptions options, Parts parts);
  ~EvidenceLog();
  // Begins to publish by itself.
  void start();

  struct Leaf {
    TenantId tenant = TenantId::service();
    std::string bytes;  // at most leaf_bytes_max
  };
  // Each leaf's place in its tenant's log.
  using Indices = std::vector<std::uint64_t>;
  // Errors: invalid_argument when it is too long for a leaf.
  static Status check_leaf(std::string_view bytes);
  // What else goes into the journal, in one batch with the leaves: called on the journal's thread,
  // on which everybody waits, when the leaves have their places. Empty: nothing.
  using Also = std::move_only_function<std::vector<JournalRecord>(const Indices&)>;
  // `done` is called when all is on the disk. Errors: invalid_argument when a leaf is too long;
  // overloaded; store_unavailable; corrupt.
  void append(std::vector<Leaf> leaves, Also also, Done<Indices> done);

  // Tiles and a checkpoint of every log that has grown. Blocks on the disk and, once, on the
  // provider. Errors: store_unavailable; those of the seal.
  Status publish();

  // The newest checkpoint. Errors: not_found when there is none; store_unavailable; corrupt.
  Result<Published> published(const TenantId& tenant) const;
  // Those that have evidence, in any order. Errors: store_unavailable.
  Result<std::vector<TenantId>> tenants() const;
  // All checkpoints, the oldest first; their signatures are not checked. Errors: store_unavailable;
  // corrupt.
  Result<std::vector<Published>> all_published(const TenantId& tenant) const;
  TileReader tiles(const TenantId& tenant, std::uint64_t size) const;
  // Errors: those of the seal.
  Result<NoteKey> public_key();
  // Of the key; empty while public_key() has yet to make that.
  std::string name() const;
  // The first line of a tenant's checkpoints.
  static std::string origin_of(std::string_view name, const TenantId& tenant);
  Journal& journal() { return *journal_; }
  // Why nothing could be published the last time; empty: it could.
  std::string trouble() const;

 private:
  struct Tenant {
    GrowingTree tree;
    TileWriter tiles;
    bool grown = false;
  };
  struct Publication {
    TenantId tenant = TenantId::service();
    std::uint64_t size = 0;
    Digest root{};
    std::vector<TileWriter::File> files;
  };
  EvidenceLog(EvidenceLogOptions options, Parts parts, FolderLock lock);
  std::string folder_of(const TenantId& tenant) const;
  Result<Tenant*> state_of(const TenantId& tenant);
  void add(Tenant& tenant, ByteView bytes, const Digest& hash);
  struct Batch;
  Result<std::vector<JournalRecord>> number(Batch& batch);
  Result<Indices> place(const Batch& batch);
  Status reload();
  Status replay(const JournalRecord& record);
  Status take_grown();
  void take_all();
  Status write(const std::vector<Publication>& all);
  Result<const LogKey*> key();
  void run(const std::stop_token& stop);

  const EvidenceLogOptions options_;
  const Parts parts_;
  const FolderLock lock_;
  std::unique_ptr<Journal> journal_;

  std::mutex publishing_;               // one at a time; taken before mutex_
  std::vector<Publication> unwritten_;  // as the next one
  JournalPosition unwritten_end_ = 0;
  std::uint64_t unwritten_bytes_ = 0;

  mutable std::mutex mutex_;  // of what follows
  std::string name_;          // empty until the key is made
  std::map<TenantId, Tenant> tenants_;
  std::uint64_t unpublished_leaves_ = 0, unpublished_bytes_ = 0;
  std::size_t in_flight_ = 0;  // batches that are numbered and not answered
  bool stale_ = false;         // what is in memory is not what the journal has
  std::string trouble_;        // why nothing could be published the last time
  enum class Taking : std::uint8_t { idle, wanted, done } taking_ = Taking::idle;
  std::condition_variable_any due_, settled_;

  std::mutex key_mutex_;
  std::unique_ptr<LogKey> key_;
  std::jthread thread_;
};

}  // namespace betrace::kms
