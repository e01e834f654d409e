// One file of a journal: batches of records, each with a checksum, one after the other. A position
// is a byte of the whole journal, counted over all its segments; a file's name is its first one.
// One thread writes, others may read.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "betrace/kms/result.h"

namespace betrace::kms {

struct JournalRecord {
  std::uint8_t kind = 0;
  std::string bytes;
  std::string head = {};  // is written before the bytes, and read as their beginning
};

using JournalPosition = std::uint64_t;

// The calls that fail when a disk does; tests put others in their place.
struct JournalDisk {
  std::function<std::ptrdiff_t(int file, const char* data, std::size_t size)> write;
  std::function<int(int file)> synchronise;
  std::function<int(int file, std::int64_t size)> truncate;
  static JournalDisk real();
};

// Adds the records as one batch, to be read whole or not at all. `out` is written at `durable`, a
// position up to which all is on the disk. Errors: payload_too_large, and `out` as it was.
Status encode_batch(const std::vector<JournalRecord>& records, JournalPosition durable,
                    std::string& out);

class JournalSegment {
 public:
  struct Batches {
    std::vector<JournalRecord> records;
    JournalPosition next = 0;
  };

  static std::string path_of(const std::string& folder, JournalPosition first);
  // A new file, on the disk with its name: made of the folder's spare one, when there is one, whose
  // blocks are then written again and not allocated. Errors: store_unavailable.
  static Result<JournalSegment> create(const std::string& folder, JournalPosition first,
                                       const JournalDisk& disk);
  // Makes a file that nobody needs any more the folder's spare one, or removes it when there is
  // one.
  static std::error_code retire(const std::string& folder, const std::string& path);
  // Of an earlier process: nobody knows whether its batches were behind all that are there now.
  static void remove_spare(const std::string& folder);
  // What a crash may have left of a file: all of it; all but the end of its last write; or not even
  // its head, because it was being made.
  enum class Left { whole, torn, unmade };
  // An existing file. What a crash left half written is cut off; `cut` is then how much. What an
  // earlier use of the file left behind its end goes, too. The rest is on the disk afterwards.
  // Errors: store_unavailable; corrupt, naming file and place, when something that had been on the
  // disk is not there any more.
  static Result<JournalSegment> open(const std::string& path, JournalPosition first, Left left,
                                     const JournalDisk& disk, std::uint64_t& cut);
  JournalSegment(JournalSegment&& other) noexcept;
  JournalSegment& operator=(JournalSegment&& other) noexcept;
  ~JournalSegment();

  // Puts what encode_batch() made at end(), and forces it to the disk. On error the file may hold
  // more there: shorten() comes next. Errors: store_unavailable.
  Status write(std::string_view batches, const JournalDisk& disk);
  // Cuts the file at end(), on the disk. Errors: store_unavailable.
  Status shorten(const JournalDisk& disk);
  // Whole batches from `position` on, about `bytes_max` of them. Errors: store_unavailable;
  // corrupt.
  Result<Batches> read(JournalPosition position, std::size_t bytes_max) const;

  JournalPosition first() const { return first_; }
  JournalPosition end() const { return first_ + size_; }
  const std::string& path() const { return path_; }

 private:
  JournalSegment(std::string path, JournalPosition first, int file)
      : path_(std::move(path)), first_(first), file_(file) {}
  Result<JournalPosition> scan(std::string_view batches, Left left);
  static Result<JournalSegment> create_fresh(const std::string& folder, JournalPosition first,
                                             const JournalDisk& disk);
  Status force(std::string_view text, std::uint64_t at, const JournalDisk& disk) const;
  std::unexpected<Error> failed(std::string_view verb) const;
  std::unexpected<Error> corrupt(std::uint64_t at) const;

  std::string path_;
  JournalPosition first_ = 0;
  std::atomic<std::uint64_t> size_ = 0;  // of the batches
  int file_ = -1;
};

}  // namespace betrace::kms
