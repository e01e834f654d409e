#include "evidence/journal.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>
#include <pthread.h>

#include "base/durable_file.h"
#include "base/encoding.h"
#include "base/json.h"
#include "base/try.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view suffix = ".journal";
constexpr std::size_t jobs_max = 4096;
constexpr std::size_t commit_bytes_max = 32U << 20;

std::string positions_path(const std::string& folder) { return folder + "/positions.json"; }

Status make_folder(const std::string& folder) {
  std::error_code error;
  const bool made = fs::create_directories(folder, error);
  if (made) fs::permissions(folder, fs::perms::owner_all, error);
  if (!error) return made ? sync_folder((fs::path(folder) / "..").string()) : Status{};
  return fail(ErrorCode::store_unavailable,
              fmt::format("cannot make {}: {}", folder, error.message()));
}

Result<std::vector<JournalPosition>> segments_in(const std::string& folder) {
  std::vector<JournalPosition> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const auto name = entry.path().filename().string();
    if (!name.ends_with(suffix)) continue;
    JournalPosition first = 0;
    const auto* const end = name.data() + name.size() - suffix.size();
    if (std::from_chars(name.data(), end, first).ptr == end) found.push_back(first);
  }
  if (error) {
    return fail(ErrorCode::store_unavailable,
                fmt::format("cannot list {}: {}", folder, error.message()));
  }
  std::ranges::sort(found);
  return found;
}

}  // namespace

Journal::Journal(JournalOptions options, JournalDisk disk)
    : options_(std::move(options)), disk_(std::move(disk)) {}

Result<std::unique_ptr<Journal>> Journal::open(JournalOptions options, JournalDisk disk) {
  if (options.consumers.empty()) {
    return fail(ErrorCode::invalid_argument, "a journal that nobody reads would only grow");
  }
  TRY(make_folder(options.folder));
  std::unique_ptr<Journal> journal(new Journal(std::move(options), std::move(disk)));
  TRY(journal->load());
  journal->thread_ = std::jthread([raw = journal.get()](const std::stop_token& stop) {
    pthread_setname_np(pthread_self(), "kms-journal");
    raw->run(stop);
  });
  return journal;
}

Journal::~Journal() {
  thread_.request_stop();
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Status Journal::load() {
  JournalSegment::remove_spare(options_.folder);
  const auto found = TRY(segments_in(options_.folder));
  for (std::size_t i = 0; i < found.size(); ++i) {
    // The first file of all and one behind others may have been in the making.
    using Left = JournalSegment::Left;
    const auto left = i + 1 < found.size()      ? Left::whole
                      : i == 0 && found[i] != 0 ? Left::torn
                                                : Left::unmade;
    const auto path = JournalSegment::path_of(options_.folder, found[i]);
    if (i > 0 && found[i] != end_) {
      return fail(ErrorCode::corrupt, fmt::format("{} does not begin where the one before it ends, "
                                                  "at {}: a file of the journal is missing",
                                                  path, end_));
    }
    std::uint64_t cut = 0;
    auto segment = TRY(JournalSegment::open(path, found[i], left, disk_, cut));
    if (cut > 0) {
      logger(log_category::kms)
          .warn("{} at the end of {} not whole, as a crash leaves them: cut off",
                counted(cut, "byte"), path);
    }
    end_ = segment.end();
    segments_.emplace(found[i], std::make_shared<JournalSegment>(std::move(segment)));
  }
  if (segments_.empty()) TRY(add_segment(0));
  TRY(sync_folder(options_.folder));
  return load_positions();
}

// What cannot be read is the beginning: a consumer sees batches again.
Status Journal::load_positions() {
  const auto first = segments_.begin()->first;
  for (const auto& consumer : options_.consumers) positions_[consumer] = first;
  const auto text = TRY(read_whole_file(positions_path(options_.folder)));
  JsonDocument document;
  if (!text || !document.parse(*text) || !document.root().is_object()) return {};
  for (auto& [consumer, position] : positions_) {
    const auto* const value = document.root().get_object().if_contains(consumer);
    if (value == nullptr || !value->is_string()) continue;
    const std::string_view digits(value->get_string());
    JournalPosition read = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), read);
    if (read > end_) {
      return fail(ErrorCode::corrupt,
                  fmt::format("'{}' has read up to {}, and {} ends at {}: its end is missing",
                              consumer, read, segments_.rbegin()->second->path(), end_));
    }
    position = std::max(read, first);
  }
  return {};
}

Status Journal::add_segment(JournalPosition first) {
  auto segment = TRY(JournalSegment::create(options_.folder, first, disk_));
  const std::lock_guard lock(mutex_);
  segments_[first] = std::make_shared<JournalSegment>(std::move(segment));
  return {};
}

JournalPosition Journal::slowest() const {
  JournalPosition least = end_;
  for (const auto& [consumer, position] : positions_) least = std::min(least, position);
  return least;
}

Error Journal::full() const {
  const auto slow = std::ranges::min_element(positions_, {},
                                             [](const auto& consumer) { return consumer.second; });
  return {
      .code = ErrorCode::overloaded,
      .message = fmt::format("{} bytes wait in {} for '{}'; at most {} may: try again later",
                             end_ - slowest(), options_.folder, slow->first, options_.bytes_max)};
}

void Journal::append(Make make, Done<JournalPosition> done) {
  Job job{.make = std::move(make), .done = std::move(done)};
  const auto queued = queue(job);
  if (!queued) return job.done(std::unexpected(queued.error()));
  wake_.notify_one();
}

// Takes the job, or leaves it as it is.
Status Journal::queue(Job& job) {
  const std::lock_guard lock(mutex_);
  if (end_ - slowest() >= options_.bytes_max) return std::unexpected(full());
  if (jobs_.size() >= jobs_max) {
    return fail(ErrorCode::overloaded,
                "too much evidence is waiting for the disk; try again in a moment");
  }
  jobs_.push_back(std::move(job));
  return {};
}

void Journal::run(const std::stop_token& stop) {
  for (;;) {
    std::deque<Job> jobs;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, stop, [this] { return !jobs_.empty(); });
      if (jobs_.empty()) return;
      jobs.swap(jobs_);
    }
    commit(std::move(jobs));
  }
}

Status Journal::add(Make& make, JournalPosition begin) {
  {
    const std::lock_guard lock(mutex_);
    if (begin + batches_.size() - slowest() >= options_.bytes_max) return std::unexpected(full());
  }
  return encode_batch(TRY(make()), begin, batches_);
}

// As many as one write takes; the rest goes on in front of those that came meanwhile.
void Journal::commit(std::deque<Job> jobs) {
  batches_.clear();
  if (batches_.capacity() > 2 * commit_bytes_max) batches_.shrink_to_fit();
  std::vector<std::pair<Done<JournalPosition>, JournalPosition>> written;
  const auto begin = end();
  while (!jobs.empty() && batches_.size() < commit_bytes_max) {
    auto job = std::move(jobs.front());
    jobs.pop_front();
    const auto added = add(job.make, begin);
    if (!added) {
      job.done(std::unexpected(added.error()));
      continue;
    }
    written.emplace_back(std::move(job.done), begin + batches_.size());
  }
  {
    const std::lock_guard lock(mutex_);
    for (; !jobs.empty(); jobs.pop_back()) jobs_.push_front(std::move(jobs.back()));
  }
  if (written.empty()) return;
  const auto status = write();
  if (status) {
    const std::lock_guard lock(mutex_);
    end_ = begin + batches_.size();
  }
  grown_.notify_all();
  for (auto& [done, position] : written) {
    done(status ? Result<JournalPosition>(position) : std::unexpected(status.error()));
  }
}

Status Journal::write() {
  if (broken_) TRY(repair());
  std::shared_ptr<JournalSegment> segment;
  {
    const std::lock_guard lock(mutex_);
    segment = segments_.rbegin()->second;
  }
  if (segment->end() - segment->first() >= options_.segment_bytes) {
    TRY(segment->shorten(disk_));  // of what an earlier use of the file left
    TRY(add_segment(segment->end()));
    const std::lock_guard lock(mutex_);
    segment = segments_.rbegin()->second;
  }
  const auto status = segment->write(batches_, disk_);
  if (status) return {};
  broken_ = true;
  (void)repair();  // else before the next write
  return status;
}

// After a failed write or a failed fsync nobody knows what the file holds behind its end: it is cut
// there, and what comes goes into a new one.
Status Journal::repair() {
  std::shared_ptr<JournalSegment> segment;
  {
    const std::lock_guard lock(mutex_);
    segment = segments_.rbegin()->second;
  }
  TRY(segment->shorten(disk_));
  if (segment->end() > segment->first()) TRY(add_segment(segment->end()));
  broken_ = false;
  return {};
}

Result<JournalSegment::Batches> Journal::read(JournalPosition from, std::size_t bytes_max) const {
  std::shared_ptr<JournalSegment> segment;
  {
    const std::lock_guard lock(mutex_);
    if (from >= end_) return JournalSegment::Batches{.records = {}, .next = from};
    auto found = segments_.upper_bound(from);
    if (found == segments_.begin()) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("position {} of the journal is gone", from));
    }
    segment = (--found)->second;
    // What was written since has not been acknowledged yet, and advance() would not take it.
    bytes_max = std::min<std::uint64_t>(bytes_max, end_ - from);
  }
  return segment->read(from, bytes_max);
}

bool Journal::wait_for_more(JournalPosition from, std::chrono::milliseconds time,
                            const std::stop_token& stop) const {
  std::unique_lock lock(mutex_);
  return grown_.wait_for(lock, stop, time, [&] { return end_ > from; });
}

JournalPosition Journal::end() const {
  const std::lock_guard lock(mutex_);
  return end_;
}

JournalPosition Journal::position(const std::string& consumer) const {
  const std::lock_guard lock(mutex_);
  return positions_.at(consumer);
}

std::uint64_t Journal::bytes_behind(const std::string& consumer) const {
  const std::lock_guard lock(mutex_);
  return end_ - positions_.at(consumer);
}

Status Journal::advance(const std::string& consumer, JournalPosition position) {
  const std::lock_guard advancing(advancing_);
  boost::json::object text;
  {
    const std::lock_guard lock(mutex_);
    const auto at = positions_.find(consumer);
    if (at == positions_.end()) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("'{}' does not read {}", consumer, options_.folder));
    }
    if (position <= at->second) return {};
    at->second = std::min(position, end_);
    for (const auto& [name, each] : positions_) text[name] = std::to_string(each);
  }
  TRY(write_file(positions_path(options_.folder), boost::json::serialize(text)));
  return remove_passed();
}

// From the front on, and none behind one that stays: a hole would be taken for damage.
Status Journal::remove_passed() {
  for (bool removed = false;; removed = true) {
    std::shared_ptr<JournalSegment> oldest;
    {
      const std::lock_guard lock(mutex_);
      oldest = segments_.begin()->second;
      if (segments_.size() == 1 || oldest->end() > slowest()) {
        return removed ? sync_folder(options_.folder) : Status{};
      }
    }
    const auto error = JournalSegment::retire(options_.folder, oldest->path());
    if (error) {
      logger(log_category::kms).warn("cannot remove {}: {}", oldest->path(), error.message());
      return {};
    }
    const std::lock_guard lock(mutex_);
    segments_.erase(segments_.begin());
  }
}

}  // namespace betrace::kms
