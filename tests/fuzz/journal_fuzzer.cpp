// Any bytes as a file of the journal, any batches with good checksums, and a file of the journal as
// a crash or a disk may leave it: nothing crashes; what is read, written again, is the bytes that
// are there, checksums included; what is read of a damaged file is a beginning of what was written,
// and what was known to be on the disk is there or missed; what was opened opens again alike.
#include <sys/mman.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "evidence/journal_segment.h"
#include "fuzz.h"

using namespace betrace::kms;
using namespace std::literals;

namespace {

constexpr std::size_t head_bytes = 16;
constexpr JournalPosition other_first = 4096;
using Left = JournalSegment::Left;
using Batches = std::vector<JournalSegment::Batches>;

// In memory, under a path.
class File {
 public:
  File() : file_(::memfd_create("journal", MFD_CLOEXEC)) { must(file_ >= 0); }
  ~File() { ::close(file_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  std::string path() const { return fmt::format("/proc/self/fd/{}", file_); }
  void write(std::string_view text) const {
    must(::ftruncate(file_, 0) == 0);
    must(::pwrite(file_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  }
  std::string read() const {
    std::string text(static_cast<std::size_t>(::lseek(file_, 0, SEEK_END)), '\0');
    must(::pread(file_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
    return text;
  }

 private:
  int file_;
};

struct Found {
  Batches batches;
  bool whole = true;  // else the next one cannot be read
};

bool same(const JournalSegment::Batches& one, const JournalSegment::Batches& other) {
  return one.next == other.next &&
         std::ranges::equal(one.records, other.records, [](const auto& a, const auto& b) {
           return a.kind == b.kind && a.bytes == b.bytes;
         });
}

// Batch by batch, and all together.
Found read_all(const JournalSegment& segment) {
  Found found;
  JournalSegment::Batches joined{.records = {}, .next = segment.first()};
  while (found.whole && joined.next < segment.end()) {
    auto batches = segment.read(joined.next, 1);
    found.whole = batches.has_value();
    if (!batches) continue;
    must(batches->next > joined.next && batches->next <= segment.end());
    joined.next = batches->next;
    std::ranges::copy(batches->records, std::back_inserter(joined.records));
    found.batches.push_back(*std::move(batches));
  }
  const auto together = segment.read(segment.first(), std::size_t{1} << 20);
  must(together ? same(*together, joined) : found.batches.empty() && !found.whole);
  return found;
}

// Nothing when it is refused.
std::optional<Found> open_and_read(const File& file, JournalPosition first, Left left) {
  const auto before = file.read();
  std::uint64_t cut = 0;
  std::optional<Found> found;
  {
    const auto segment = JournalSegment::open(file.path(), first, left, JournalDisk::real(), cut);
    if (!segment) {
      must(file.read() == before);
      return std::nullopt;
    }
    must(segment->first() == first);
    found = read_all(*segment);
  }
  const auto after = file.read();
  must(before.starts_with(after) || (left == Left::unmade && after.size() == head_bytes));
  // What an earlier use of the file left goes, and is not counted.
  must(before.size() < head_bytes || cut == 0 || after.size() + cut == before.size());
  const auto again = read_all(
      JournalSegment::open(file.path(), first, Left::whole, JournalDisk::real(), cut).value());
  must(again.whole == found->whole);
  must(std::ranges::equal(again.batches, found->batches, same));
  return found;
}

void must_be_written_so(const Batches& all, JournalPosition first, std::string_view text) {
  auto at = first;
  for (const auto& each : all) {
    const auto there = text.substr(head_bytes + (at - first), each.next - at);
    JournalPosition durable = 0;
    std::memcpy(&durable, there.data() + 8, sizeof durable);
    must(durable <= at);
    std::string written(at - durable, '\0');
    must(encode_batch(each.records, durable, written).has_value());
    must(std::string_view(written).substr(at - durable) == there);
    at = each.next;
  }
}

void take_any_file(const File& file, std::string_view text, JournalPosition first, Left left) {
  file.write(text);
  if (const auto found = open_and_read(file, first, left)) {
    must_be_written_so(found->batches, first, file.read());
  }
}

std::string head_of(JournalPosition first) {
  std::string head = "BTKMSJ01";
  head.append(reinterpret_cast<const char*>(&first), sizeof first);
  return head;
}

// Batches that say of themselves what the input says, with checksums that are right.
std::string sealed_file(Input in, JournalPosition first) {
  auto text = head_of(first);
  while (!in.rest.empty()) {
    struct {
      std::uint32_t mark = 0x4a4d4b42, size = 0;
      std::uint64_t durable = 0, position = 0, checksum = 0;
    } head;
    head.position = first + text.size() - head_bytes;
    head.durable = head.position - in.number<std::uint16_t>();
    if (const auto odd = in.byte(); odd % 8 == 7) head.durable = in.number<std::uint64_t>();
    const auto records = in.take(in.byte());
    head.size = static_cast<std::uint32_t>(records.size());
    const auto seed = XXH3_64bits(&head, 24);
    head.checksum = XXH3_64bits_withSeed(records.data(), records.size(), seed);
    text.append(reinterpret_cast<const char*>(&head), sizeof head).append(records);
  }
  return text;
}

// --- damage -------------------------------------------------------------------------------------

struct Written {
  std::string text;
  Batches batches;
  std::vector<JournalPosition> durable;  // of each batch: all before was on the disk
};

// Writes of some batches each, of records as the input says.
Written write_some(Input& in, JournalPosition first) {
  Written made{.text = head_of(first), .batches = {}, .durable = {}};
  for (int writes = in.byte() % 4; writes >= 0; --writes) {
    const JournalPosition durable = first + made.text.size() - head_bytes;
    std::string out;
    for (int batches = in.byte() % 4; batches >= 0; --batches) {
      auto& batch = made.batches.emplace_back();
      for (int records = in.byte() % 4; records > 0; --records) {
        const auto kind = in.byte();
        const std::size_t size = in.byte();
        batch.records.push_back({.kind = kind, .bytes = std::string(in.take(size))});
      }
      must(encode_batch(batch.records, durable, out).has_value());
      batch.next = durable + out.size();
      made.durable.push_back(durable);
    }
    made.text += out;
  }
  return made;
}

void damage(std::string& text, Input& in) {
  const auto op = in.byte();
  const std::size_t at = text.empty() ? 0 : in.number<std::uint16_t>() % text.size();
  const std::size_t count = std::min<std::size_t>(1 + in.byte(), text.size() - at);
  if (text.empty()) return;
  switch (op % 4) {
    case 0:
      text[at] = static_cast<char>(text[at] ^ 1 << op / 4 % 8);
      break;
    case 1:
      text.resize(at);
      break;
    case 2:
      std::fill_n(text.begin() + static_cast<std::ptrdiff_t>(at), count, '\0');
      break;
    default:  // a piece that was written elsewhere
      text.replace(at, count, text, op / 4 * text.size() / 64, count);
  }
}

void damage_a_file(const File& file, Input in, JournalPosition first, Left left) {
  const auto made = write_some(in, first);
  file.write(made.text);
  const auto whole = open_and_read(file, first, left).value();
  must(whole.whole && std::ranges::equal(whole.batches, made.batches, same));
  auto text = made.text;
  while (!in.rest.empty()) damage(text, in);
  file.write(text);
  const auto found = open_and_read(file, first, left);
  if (!found) return;
  const auto count = found->batches.size();
  must(found->whole && count <= made.batches.size());
  must(std::equal(found->batches.begin(), found->batches.end(), made.batches.begin(), same));
  must(left != Left::whole || count == made.batches.size() || text.size() < made.text.size());
  // Of what a later write knows to be on the disk, nothing is cut off.
  const auto end = count == 0 ? first : found->batches.back().next;
  for (std::size_t i = count; i < made.batches.size(); ++i) {
    const auto begin = i == 0 ? first : made.batches[i - 1].next;
    const auto at = head_bytes + (begin - first), size = made.batches[i].next - begin;
    const bool is_there =
        text.size() >= at + size && text.compare(at, size, made.text, at, size) == 0;
    must(!is_there || made.durable[i] <= end);
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  std::vector<std::string> seeds;
  for (const std::uint8_t form : {0, 1, 2, 4, 5, 6}) {
    const auto shape = "\3\2\2\1\5hello\2\3abc\1\7\7spanish\0\1\1\3\4leaf\2\1\1\1xyz"s;
    const auto damaged = shape + "\0\60\0\1\1\100\0\1"s;
    for (const auto& each : {shape, damaged}) {
      seeds.push_back(static_cast<char>(form + 8) + each);
      seeds.push_back(static_cast<char>(form + 16) + "\0\0\0\22\1\0\0\0\7x"s + each);
      Input in(reinterpret_cast<const std::uint8_t*>(each.data()), each.size());
      seeds.push_back(static_cast<char>(form) + write_some(in, form < 4 ? 0 : other_first).text);
    }
  }
  plant(*argc, *argv, seeds);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const File file;
  Input in(data, size);
  const auto form = in.byte();
  const auto left = std::array{Left::whole, Left::torn, Left::unmade}[form % 4 % 3];
  const JournalPosition first = (form & 4) == 0 ? 0 : other_first;
  if ((form & 8) != 0) {
    damage_a_file(file, in, first, left);
  } else if ((form & 16) != 0) {
    take_any_file(file, sealed_file(in, first), first, left);
  } else {
    take_any_file(file, in.rest, first, left);
  }
  return 0;
}
