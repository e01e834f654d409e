#include "evidence/evidence_log.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <system_error>

#include <fmt/format.h>
#include <pthread.h>

#include "base/encoding.h"
#include "base/json.h"
#include "base/json_note.h"
#include "base/try.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t tenants_kept_max = 4096;  // in memory, when nothing of theirs is unwritten
constexpr std::size_t replay_bytes = 8U << 20;
const std::string consumer = "log";

// "tenant NUL index leaf": a tenant's name has no NUL.
JournalRecord record_of(EvidenceLog::Leaf leaf, std::uint64_t index) {
  JournalRecord record{
      .kind = EvidenceLog::leaf_record, .bytes = std::move(leaf.bytes), .head = leaf.tenant.str()};
  record.head += '\0';
  record.head.append(reinterpret_cast<const char*>(&index), sizeof index);
  return record;
}

struct LeafRecord {
  TenantId tenant = TenantId::service();
  std::uint64_t index = 0;
  std::string_view bytes;
  static std::optional<LeafRecord> parse(std::string_view text) {
    LeafRecord record;
    const auto end = text.find('\0');
    if (end == std::string_view::npos || text.size() < end + 1 + sizeof record.index) return {};
    auto tenant = TenantId::parse(text.substr(0, end));
    if (!tenant) return {};
    record.tenant = *std::move(tenant);
    std::memcpy(&record.index, text.data() + end + 1, sizeof record.index);
    record.bytes = text.substr(end + 1 + sizeof record.index);
    return record;
  }
};

Result<EvidenceLog::Published> published_of(const TenantId& tenant, std::string note,
                                            const std::string& path) {
  auto checkpoint = Checkpoint::parse(note.substr(0, note.find("\n\n") + 1));
  if (!checkpoint) {
    return fail(ErrorCode::corrupt, fmt::format("{}: {}", path, checkpoint.error().message));
  }
  return EvidenceLog::Published{
      .tenant = tenant, .checkpoint = *std::move(checkpoint), .note = std::move(note)};
}

std::optional<EvidenceLog::Published> listed_of(const TenantId& tenant, std::string_view line,
                                                const std::string& path) {
  JsonDocument document;
  if (!document.parse(line) || !document.root().is_object()) return {};  // cut off by a crash
  auto found = published_of(tenant, text_of(document.root(), "note"), path);
  if (!found) return {};
  return *std::move(found);
}

// The last one of a list of checkpoints, without reading all of it.
std::optional<EvidenceLog::Published> newest_of(const TenantId& tenant, const std::string& path) {
  constexpr std::streamoff lines_bytes = 16 << 10;  // several, whatever the names are
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return {};
  const std::streamoff size = file.tellg();
  file.seekg(std::max<std::streamoff>(0, size - lines_bytes));
  const std::string text(std::istreambuf_iterator<char>(file), {});
  for (std::string_view rest = text; !rest.empty();) {
    if (rest.ends_with('\n')) rest.remove_suffix(1);
    const auto begin = rest.rfind('\n') + 1;  // npos + 1 is 0
    if (auto found = listed_of(tenant, rest.substr(begin), path)) return found;
    rest = rest.substr(0, begin);
  }
  return {};
}

}  // namespace

EvidenceLog::EvidenceLog(EvidenceLogOptions options, Parts parts, FolderLock lock)
    : options_(std::move(options)), parts_(std::move(parts)), lock_(std::move(lock)) {}

Result<std::unique_ptr<EvidenceLog>> EvidenceLog::open(EvidenceLogOptions options, Parts parts) {
  std::error_code error;
  if (fs::create_directories(options.folder, error)) {
    fs::permissions(options.folder, fs::perms::owner_all, error);
  }
  if (error) {
    return fail(ErrorCode::store_unavailable,
                fmt::format("cannot make {}: {}", options.folder, error.message()));
  }
  auto lock = FolderLock::try_take(options.folder);
  if (!lock) return std::unexpected(std::move(lock).error());
  const auto key = TRY(LogKey::find(options.folder));
  JournalOptions journal{.folder = options.folder + "/journal",
                         .consumers = options.consumers,
                         .bytes_max = options.journal_bytes_max};
  journal.consumers.push_back(consumer);
  std::unique_ptr<EvidenceLog> log(
      new EvidenceLog(std::move(options), std::move(parts), *std::move(lock)));
  log->journal_ = TRY(Journal::open(std::move(journal)));
  const std::lock_guard guard(log->mutex_);
  if (key) log->name_ = key->name;
  TRY(log->reload());
  return log;
}

EvidenceLog::~EvidenceLog() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  journal_.reset();  // its callbacks use what follows
}

void EvidenceLog::start() {
  thread_ = std::jthread([this](const std::stop_token& stop) {
    pthread_setname_np(pthread_self(), "kms-evidence");
    run(stop);
  });
}

void EvidenceLog::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      due_.wait_for(lock, stop, options_.interval,
                    [this] { return unpublished_leaves_ >= options_.leaves_max; });
    }
    const auto status = publish();
    if (status) continue;
    logger(log_category::kms)
        .warn("the evidence log was not published: {}", status.error().message);
    parts_.clock.sleep_for(std::chrono::seconds(1), stop);
  }
}

std::string EvidenceLog::folder_of(const TenantId& tenant) const {
  // "." and ".." are names of tenants, too.
  return fmt::format("{}/tenants/t-{}", options_.folder, tenant.str());
}

TileReader EvidenceLog::tiles(const TenantId& tenant, std::uint64_t size) const {
  return {folder_of(tenant), size};
}

// --- appending ----------------------------------------------------------------------------------

Result<EvidenceLog::Tenant*> EvidenceLog::state_of(const TenantId& tenant) {
  if (const auto found = tenants_.find(tenant); found != tenants_.end()) return &found->second;
  Tenant state;
  const auto known = published(tenant);
  if (known) {
    const auto& checkpoint = known->checkpoint;
    const auto reader = tiles(tenant, checkpoint.size);
    auto subtrees = TRY(hashes_of(whole_subtrees(0, checkpoint.size), reader.reader()));
    state.tree = *GrowingTree::resume(checkpoint.size, std::move(subtrees));
    if (state.tree.root() != checkpoint.root) {
      return fail(ErrorCode::corrupt,
                  fmt::format("the evidence log in {} is damaged: its hashes are not those of its "
                              "checkpoint",
                              folder_of(tenant)));
    }
    state.tiles = TRY(TileWriter::resume(folder_of(tenant), checkpoint.size));
  } else if (known.error().code != ErrorCode::not_found) {
    return std::unexpected(known.error());
  }
  return &tenants_.emplace(tenant, std::move(state)).first->second;
}

void EvidenceLog::add(Tenant& tenant, ByteView bytes, const Digest& hash) {
  tenant.tiles.add_entry(bytes);
  tenant.tree.add_leaf(hash, [&](const TreeNode& node, const Digest& digest) {
    tenant.tiles.add_node(node, digest);
  });
  tenant.grown = true;
  ++unpublished_leaves_;
  unpublished_bytes_ += bytes.size();
}

struct EvidenceLog::Batch {
  std::vector<Leaf> leaves;
  Also also;
  Done<Indices> done;
  std::vector<Digest> hashes = {};
  Indices indices = {};
  bool numbered = false;
};

// On the journal's thread: the order of the log is the order of the journal.
Result<EvidenceLog::Indices> EvidenceLog::place(const Batch& batch) {
  std::unique_lock lock(mutex_);
  if (stale_ && in_flight_ == 0) {
    lock.unlock();
    const std::lock_guard publishing(publishing_);
    lock.lock();
    TRY(reload());
  }
  if (stale_) return fail(ErrorCode::store_unavailable, "the evidence log could not be written");
  if (taking_ == Taking::wanted && in_flight_ == 0) take_all();
  if (unpublished_bytes_ >= options_.unpublished_bytes_max) {
    return fail(ErrorCode::overloaded,
                fmt::format("{} bytes of evidence wait for their checkpoint{}", unpublished_bytes_,
                            trouble_.empty() ? "" : ": " + trouble_));
  }
  std::vector<Tenant*> states;
  for (const auto& leaf : batch.leaves) states.push_back(TRY(state_of(leaf.tenant)));
  Indices indices;
  for (std::size_t i = 0; i < states.size(); ++i) {
    indices.push_back(states[i]->tree.size());
    add(*states[i], as_bytes(batch.leaves[i].bytes), batch.hashes[i]);
  }
  ++in_flight_;
  return indices;
}

Result<std::vector<JournalRecord>> EvidenceLog::number(Batch& batch) {
  batch.indices = TRY(place(batch));
  batch.numbered = true;
  auto records = batch.also ? batch.also(batch.indices) : std::vector<JournalRecord>();
  records.reserve(records.size() + batch.leaves.size());
  for (std::size_t i = 0; i < batch.leaves.size(); ++i) {
    records.push_back(record_of(std::move(batch.leaves[i]), batch.indices[i]));
  }
  return records;
}

Status EvidenceLog::check_leaf(std::string_view bytes) {
  if (bytes.size() <= leaf_bytes_max) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("the signed span has {} bytes; at most {} go into the log of evidence",
                          bytes.size(), leaf_bytes_max));
}

void EvidenceLog::append(std::vector<Leaf> leaves, Also also, Done<Indices> done) {
  auto batch = std::make_shared<Batch>(std::move(leaves), std::move(also), std::move(done));
  for (const auto& leaf : batch->leaves) {
    if (const auto fits = check_leaf(leaf.bytes); !fits) {
      return batch->done(std::unexpected(fits.error()));
    }
    batch->hashes.push_back(leaf_hash(as_bytes(leaf.bytes)));
  }
  journal_->append(
      [this, batch] { return number(*batch); },
      [this, batch](const Result<JournalPosition>& written) {
        bool due = false;
        if (batch->numbered) {
          const std::lock_guard lock(mutex_);
          --in_flight_;
          stale_ = stale_ || !written;
          if (in_flight_ == 0) settled_.notify_one();
          due = unpublished_leaves_ >= options_.leaves_max;
        }
        if (due) due_.notify_one();
        if (!written) return batch->done(std::unexpected(written.error()));
        parts_.metrics.evidence_leaves.Increment(static_cast<double>(batch->leaves.size()));
        batch->done(std::move(batch->indices));
      });
}

// What is on the disk is what counts: the checkpoints, and what the journal has behind them.
Status EvidenceLog::reload() {
  tenants_.clear();
  unpublished_leaves_ = unpublished_bytes_ = unwritten_bytes_ = 0;
  unwritten_.clear();
  stale_ = true;
  auto at = journal_->position(consumer);
  for (;;) {
    const auto batches = TRY(journal_->read(at, replay_bytes));
    if (batches.next == at) break;
    for (const auto& record : batches.records) TRY(replay(record));
    at = batches.next;
  }
  stale_ = false;
  return {};
}

Status EvidenceLog::replay(const JournalRecord& record) {
  if (record.kind != leaf_record) return {};
  const auto leaf = LeafRecord::parse(record.bytes);
  if (!leaf) return fail(ErrorCode::corrupt, "a leaf in the journal of evidence is malformed");
  auto* const tenant = TRY(state_of(leaf->tenant));
  if (leaf->index < tenant->tree.size()) return {};
  if (leaf->index > tenant->tree.size()) {
    return fail(ErrorCode::corrupt,
                fmt::format("the evidence log of tenant {} ends at {}, and the journal goes on at "
                            "{}: leaves are missing",
                            leaf->tenant.str(), tenant->tree.size(), leaf->index));
  }
  add(*tenant, as_bytes(leaf->bytes), leaf_hash(as_bytes(leaf->bytes)));
  return {};
}

// --- publishing ---------------------------------------------------------------------------------

Status EvidenceLog::publish() {
  const std::lock_guard publishing(publishing_);
  TRY(take_grown());
  auto status = write(unwritten_);
  const std::lock_guard lock(mutex_);
  trouble_ = status ? "" : status.error().message;
  if (!status) {
    parts_.metrics.checkpoints_failed.Increment();
    return status;
  }
  parts_.metrics.checkpoints_made.Increment(static_cast<double>(unwritten_.size()));
  unwritten_.clear();
  std::erase_if(tenants_, [&](const auto& each) {
    return tenants_.size() > tenants_kept_max && !each.second.grown;
  });
  return {};
}

// Only what the journal has is ever published: a checkpoint over leaves that a crash takes away
// would contradict the next one. What could not be written the last time stays, and goes first.
Status EvidenceLog::take_grown() {
  std::unique_lock lock(mutex_);
  if (stale_ && in_flight_ == 0) TRY(reload());
  if (stale_) return fail(ErrorCode::store_unavailable, "the evidence log could not be written");
  taking_ = Taking::wanted;
  settled_.wait(lock, [this] { return taking_ == Taking::done || in_flight_ == 0; });
  if (taking_ == Taking::wanted) take_all();
  taking_ = Taking::idle;
  return {};
}

// When no batch is in flight.
void EvidenceLog::take_all() {
  taking_ = Taking::done;
  settled_.notify_one();
  if (stale_) return;
  for (auto& [tenant, state] : tenants_) {
    if (!state.grown) continue;
    unwritten_.push_back({.tenant = tenant,
                          .size = state.tree.size(),
                          .root = state.tree.root(),
                          .files = state.tiles.take()});
    state.grown = false;
  }
  unpublished_leaves_ = 0;
  unwritten_bytes_ = unpublished_bytes_;
  unwritten_end_ = journal_->end();
}

Status EvidenceLog::write(const std::vector<Publication>& all) {
  if (all.empty()) return {};
  const auto& signing = *TRY(key());
  for (const auto& each : all) TRY(write_tiles(folder_of(each.tenant), each.files));
  TRY(sync_file_system(options_.folder));
  std::vector<Published> checkpoints;
  for (const auto& each : all) {
    const auto before = published(each.tenant);
    if (before) TRY(open_note(before->note, signing.public_key()));
    const Checkpoint checkpoint{.origin = origin_of(signing.public_key().name, each.tenant),
                                .size = each.size,
                                .root = each.root,
                                .time = parts_.clock.now()};
    auto note = signing.sign(checkpoint);
    TRY(append_line(folder_of(each.tenant) + "/checkpoints.jsonl",
                    JsonNote().count("size", each.size).text("note", note).str()));
    TRY(write_file(folder_of(each.tenant) + "/checkpoint", note));
    checkpoints.push_back(
        {.tenant = each.tenant, .checkpoint = checkpoint, .note = std::move(note)});
  }
  TRY(sync_file_system(options_.folder));
  TRY(journal_->advance(consumer, unwritten_end_));
  {
    const std::lock_guard lock(mutex_);
    unpublished_bytes_ -= std::min(unpublished_bytes_, unwritten_bytes_);
  }
  if (parts_.on_checkpoint) std::ranges::for_each(checkpoints, parts_.on_checkpoint);
  return {};
}

Result<const LogKey*> EvidenceLog::key() {
  const std::lock_guard lock(key_mutex_);
  if (!key_) {
    key_ = std::make_unique<LogKey>(
        TRY(LogKey::load_or_make(options_.folder, options_.name, parts_.seal)));
    const std::lock_guard naming(mutex_);
    name_ = key_->public_key().name;
  }
  return key_.get();
}

Result<NoteKey> EvidenceLog::public_key() { return TRY(key())->public_key(); }

std::string EvidenceLog::origin_of(std::string_view name, const TenantId& tenant) {
  return fmt::format("{}/{}", name, tenant.str());
}

std::string EvidenceLog::trouble() const {
  const std::lock_guard lock(mutex_);
  return trouble_;
}

std::string EvidenceLog::name() const {
  const std::lock_guard lock(mutex_);
  return name_;
}

// --- reading ------------------------------------------------------------------------------------

Result<EvidenceLog::Published> EvidenceLog::published(const TenantId& tenant) const {
  const auto path = folder_of(tenant) + "/checkpoint";
  auto note = TRY(read_whole_file(path));
  auto listed = newest_of(tenant, folder_of(tenant) + "/checkpoints.jsonl");
  if (note) {
    auto found = TRY(published_of(tenant, *std::move(note), path));
    if (!listed || listed->checkpoint.size <= found.checkpoint.size) return found;
  }
  // Lost, or an older one put back: the log would contradict what was handed out since.
  if (listed) return *std::move(listed);
  return fail(
      ErrorCode::not_found,
      fmt::format("tenant {} has no evidence: none of its spans was signed yet", tenant.str()));
}

Result<std::vector<TenantId>> EvidenceLog::tenants() const {
  const auto folder = options_.folder + "/tenants";
  std::vector<TenantId> found;
  std::error_code error;
  for (fs::directory_iterator each(folder, error); !error && each != fs::directory_iterator();
       each.increment(error)) {
    const auto name = each->path().filename().string();
    auto tenant = TenantId::parse(name.starts_with("t-") ? name.substr(2) : "");
    if (tenant) found.push_back(*std::move(tenant));
  }
  if (!error || error == std::errc::no_such_file_or_directory) return found;
  return fail(ErrorCode::store_unavailable,
              fmt::format("cannot read {}: {}", folder, error.message()));
}

Result<std::vector<EvidenceLog::Published>> EvidenceLog::all_published(
    const TenantId& tenant) const {
  std::vector<Published> all;
  const auto path = folder_of(tenant) + "/checkpoints.jsonl";
  const auto text = TRY(read_whole_file(path));
  std::string_view rest = text ? std::string_view(*text) : std::string_view();
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    JsonDocument document;
    if (!document.parse(line) || !document.root().is_object()) continue;  // cut off by a crash
    auto found = TRY(published_of(tenant, text_of(document.root(), "note"), path));
    all.push_back(std::move(found));
  }
  return all;
}

}  // namespace betrace::kms
