#include "evidence/journal_segment.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/durable_file.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

static_assert(std::endian::native == std::endian::little, "the file's numbers are little-endian");

constexpr std::string_view file_mark = "BTKMSJ01";
constexpr std::uint32_t batch_mark = 0x4a4d4b42;
constexpr std::string_view spare_name = "/spare";
constexpr std::size_t file_head_bytes = 16;
constexpr std::size_t record_head_bytes = 5;
constexpr std::uint32_t batch_bytes_max = 256U << 20;

struct BatchHead {
  std::uint32_t mark = batch_mark;
  std::uint32_t size = 0;      // of the records behind it
  std::uint64_t durable = 0;   // everything before this position was on the disk
  std::uint64_t position = 0;  // its own: bytes of a record are no batch, whatever they say
  std::uint64_t checksum = 0;  // XXH3 of the records, seeded with that of the above
};
static_assert(sizeof(BatchHead) == 32);

std::uint64_t checksum_of(const BatchHead& head, std::string_view records) {
  const auto seed = XXH3_64bits(&head, offsetof(BatchHead, checksum));
  return XXH3_64bits_withSeed(records.data(), records.size(), seed);
}

template <class T>
void append_number(std::string& out, T number) {
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
}

// The batch at the beginning of `text`, which is at `position`, when there is a whole and good one.
std::optional<BatchHead> batch_at(std::string_view text, JournalPosition position) {
  BatchHead head;
  if (text.size() < sizeof head) return std::nullopt;
  std::memcpy(&head, text.data(), sizeof head);
  if (head.mark != batch_mark || head.position != position) return std::nullopt;
  if (head.durable > position) return std::nullopt;  // nobody knew that
  if (head.size > text.size() - sizeof head) return std::nullopt;
  if (head.checksum != checksum_of(head, text.substr(sizeof head, head.size))) return std::nullopt;
  return head;
}

// Whether somebody began to write a batch there. What is left of an earlier use of the file, and
// what a torn write did not reach, says another position.
bool is_begun(std::string_view text, JournalPosition position) {
  BatchHead head;
  std::memcpy(&head, text.data(), std::min(text.size(), sizeof head));
  constexpr auto known = offsetof(BatchHead, checksum);
  return !text.empty() &&
         (text.size() < known || (head.mark == batch_mark && head.position == position));
}

// All of them or none.
bool take_records(std::string_view text, std::vector<JournalRecord>& records) {
  const auto before = records.size();
  while (!text.empty()) {
    std::uint32_t size = 0;
    if (text.size() >= record_head_bytes) std::memcpy(&size, text.data(), sizeof size);
    if (text.size() < record_head_bytes || size > text.size() - record_head_bytes) {
      records.resize(before);
      return false;
    }
    records.push_back({.kind = static_cast<std::uint8_t>(text[4]),
                       .bytes = std::string(text.substr(record_head_bytes, size))});
    text.remove_prefix(record_head_bytes + size);
  }
  return true;
}

Result<std::string> read_part(int file, std::uint64_t at, std::size_t size) {
  std::string text(size, '\0');
  std::size_t have = 0;
  while (have < size) {
    const auto count =
        ::pread(file, text.data() + have, size - have, static_cast<off_t>(at + have));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0)
      return fail(ErrorCode::store_unavailable, std::generic_category().message(errno));
    if (count == 0) break;
    have += static_cast<std::size_t>(count);
  }
  text.resize(have);
  return text;
}

std::string head_of(JournalPosition first) {
  std::string head(file_mark);
  append_number(head, first);
  return head;
}

// The beginning of a head, or zeros where the disk did not get it: anything else is damage.
bool is_half_made(std::string_view text, std::string_view head) {
  if (text.size() > head.size()) return false;
  return std::ranges::equal(text, head.substr(0, text.size()),
                            [](char found, char byte) { return found == byte || found == '\0'; });
}

// False, and errno.
bool write_all(const JournalDisk& disk, int file, std::string_view text) {
  while (!text.empty()) {
    const auto count = disk.write(file, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) errno = EIO;
    if (count <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

}  // namespace

JournalDisk JournalDisk::real() {
  return {.write = [](int file, const char* data,
                      std::size_t size) { return ::write(file, data, size); },
          .synchronise = [](int file) { return ::fdatasync(file); },
          .truncate = [](int file, std::int64_t size) { return ::ftruncate(file, size); }};
}

Status encode_batch(const std::vector<JournalRecord>& records, JournalPosition durable,
                    std::string& out) {
  std::size_t size = 0;
  for (const auto& record : records) {
    size += record_head_bytes + record.head.size() + record.bytes.size();
  }
  if (size > batch_bytes_max) {
    return fail(ErrorCode::payload_too_large,
                fmt::format("{} bytes of evidence at once; at most {} go into one batch", size,
                            batch_bytes_max));
  }
  const auto begin = out.size();
  out.reserve(begin + sizeof(BatchHead) + size);
  out.resize(begin + sizeof(BatchHead));
  for (const auto& record : records) {
    append_number(out, static_cast<std::uint32_t>(record.head.size() + record.bytes.size()));
    out += static_cast<char>(record.kind);
    out += record.head;
    out += record.bytes;
  }
  BatchHead head{
      .size = static_cast<std::uint32_t>(size), .durable = durable, .position = durable + begin};
  head.checksum = checksum_of(head, std::string_view(out).substr(begin + sizeof head));
  std::memcpy(out.data() + begin, &head, sizeof head);
  return {};
}

std::string JournalSegment::path_of(const std::string& folder, JournalPosition first) {
  return fmt::format("{}/{:020}.journal", folder, first);
}

JournalSegment::JournalSegment(JournalSegment&& other) noexcept
    : path_(std::move(other.path_)),
      first_(other.first_),
      size_(other.size_.load()),
      file_(std::exchange(other.file_, -1)) {}

JournalSegment& JournalSegment::operator=(JournalSegment&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(first_, other.first_);
  size_ = other.size_.exchange(size_);
  std::swap(file_, other.file_);
  return *this;
}

JournalSegment::~JournalSegment() {
  if (file_ >= 0) ::close(file_);
}

std::unexpected<Error> JournalSegment::failed(std::string_view verb) const {
  return fail(ErrorCode::store_unavailable,
              fmt::format("cannot {} {}: {}", verb, path_, std::generic_category().message(errno)));
}

std::unexpected<Error> JournalSegment::corrupt(std::uint64_t at) const {
  return fail(ErrorCode::corrupt,
              fmt::format("{} is damaged at byte {}: what was written there is not there any more",
                          path_, at));
}

Result<JournalSegment> JournalSegment::create(const std::string& folder, JournalPosition first,
                                              const JournalDisk& disk) {
  auto path = path_of(folder, first);
  const auto spare = folder + std::string(spare_name);
  const int file = ::open(spare.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) return create_fresh(folder, first, disk);
  JournalSegment segment(std::move(path), first, file);
  const bool made = write_all(disk, file, head_of(first)) && disk.synchronise(file) == 0 &&
                    ::rename(spare.c_str(), segment.path_.c_str()) == 0;
  if (made && sync_folder(folder)) return segment;
  ::unlink(spare.c_str());
  ::unlink(segment.path_.c_str());
  return create_fresh(folder, first, disk);
}

std::error_code JournalSegment::retire(const std::string& folder, const std::string& path) {
  const auto spare = folder + std::string(spare_name);
  std::error_code error;
  if (std::filesystem::exists(spare, error)) {
    std::filesystem::remove(path, error);
  } else {
    std::filesystem::rename(path, spare, error);
  }
  return error;
}

void JournalSegment::remove_spare(const std::string& folder) {
  ::unlink((folder + std::string(spare_name)).c_str());
}

Result<JournalSegment> JournalSegment::create_fresh(const std::string& folder,
                                                    JournalPosition first,
                                                    const JournalDisk& disk) {
  auto path = path_of(folder, first);
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  JournalSegment segment(std::move(path), first, file);
  if (file < 0) return segment.failed("create");
  const bool made = give_to_owner_of(file, folder) && write_all(disk, file, head_of(first)) &&
                    disk.synchronise(file) == 0;
  auto status = made ? sync_folder(folder) : Status(segment.failed("create"));
  if (status) return segment;
  ::unlink(segment.path_.c_str());  // else the next attempt would find it in its way
  return std::unexpected(std::move(status).error());
}

Result<JournalSegment> JournalSegment::open(const std::string& path, JournalPosition first,
                                            Left left, const JournalDisk& disk,
                                            std::uint64_t& cut) {
  JournalSegment segment(path, first, ::open(path.c_str(), O_RDWR | O_CLOEXEC));
  struct stat found{};
  if (segment.file_ < 0 || ::fstat(segment.file_, &found) != 0) return segment.failed("open");
  auto text = TRY(read_part(segment.file_, 0, static_cast<std::size_t>(found.st_size)));
  const auto head = head_of(first);
  if (left == Left::unmade && is_half_made(text, head)) text = head;
  if (!text.starts_with(head)) return segment.corrupt(0);
  const auto durable = TRY(segment.scan(std::string_view(text).substr(head.size()), left));
  if (left == Left::whole) return segment;
  const auto behind = std::string_view(text).substr(head.size() + segment.size_);
  if (is_begun(behind, segment.end())) cut = behind.size();
  if (!behind.empty()) TRY(segment.shorten(disk));
  text.resize(head.size() + segment.size_);
  const auto at = durable > first ? head.size() + (durable - first) : 0;
  TRY(segment.force(std::string_view(text).substr(at), at, disk));
  return segment;
}

// Finds the end; answers the position up to which all is known to be on the disk.
Result<JournalPosition> JournalSegment::scan(std::string_view batches, Left left) {
  JournalPosition durable = first_;
  while (const auto batch = batch_at(batches, end())) {
    durable = batch->durable;
    size_ += sizeof(BatchHead) + batch->size;
    batches.remove_prefix(sizeof(BatchHead) + batch->size);
  }
  if (batches.empty()) return durable;
  if (left == Left::whole) return corrupt(file_head_bytes + size_);
  // A batch that was written later and knows that this one had been on the disk?
  for (std::size_t at = 1; at + sizeof(BatchHead) <= batches.size(); ++at) {
    const auto later = batch_at(batches.substr(at), end() + at);
    if (later && later->durable > end()) return corrupt(file_head_bytes + size_);
  }
  return durable;
}

// What a killed process wrote last reads well from memory and may not be on the disk, and after a
// failed fsync the kernel takes it for written: only what is written again is forced out.
Status JournalSegment::force(std::string_view text, std::uint64_t at,
                             const JournalDisk& disk) const {
  const int file = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return failed("open");
  Status status;
  if (::lseek(file, static_cast<off_t>(at), SEEK_SET) < 0 || !write_all(disk, file, text)) {
    status = failed("write");
  } else if (disk.synchronise(file) != 0) {
    status = failed("synchronise");
  }
  ::close(file);
  return status;
}

Status JournalSegment::write(std::string_view batches, const JournalDisk& disk) {
  const auto at = static_cast<off_t>(file_head_bytes + size_.load());
  if (::lseek(file_, at, SEEK_SET) != at || !write_all(disk, file_, batches)) {
    return failed("write");
  }
  if (disk.synchronise(file_) != 0) return failed("synchronise");
  size_ += batches.size();
  return {};
}

Status JournalSegment::shorten(const JournalDisk& disk) {
  if (disk.truncate(file_, static_cast<std::int64_t>(file_head_bytes + size_.load())) != 0) {
    return failed("shorten");
  }
  if (disk.synchronise(file_) != 0) return failed("synchronise");
  return {};
}

Result<JournalSegment::Batches> JournalSegment::read(JournalPosition position,
                                                     std::size_t bytes_max) const {
  Batches batches{.records = {}, .next = position};
  const auto at = file_head_bytes + (position - first_);
  const auto left = static_cast<std::size_t>(end() - position);
  auto text = TRY(read_part(file_, at, std::min(std::max(bytes_max, sizeof(BatchHead)), left)));
  BatchHead head;
  if (left >= sizeof head && text.size() >= sizeof head) {
    std::memcpy(&head, text.data(), sizeof head);
    const auto whole = sizeof head + head.size;
    if (whole <= left && whole > text.size()) text = TRY(read_part(file_, at, whole));
  }
  std::string_view rest(text);
  while (const auto batch = batch_at(rest, batches.next)) {
    if (!take_records(rest.substr(sizeof(BatchHead), batch->size), batches.records)) break;
    batches.next += sizeof(BatchHead) + batch->size;
    rest.remove_prefix(sizeof(BatchHead) + batch->size);
  }
  if (batches.next == position && left > 0) return corrupt(at);
  return batches;
}

}  // namespace betrace::kms
