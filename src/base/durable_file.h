// Small files that must survive a crash whole: what a call wrote is on the disk when it returns.
// Made with mode 0600; where root makes them, they belong to the folder's owner, for whom they are.
// Thread-safe; processes that write the same files take a FolderLock first.
//
// Errors of every function: store_unavailable, naming the file and the system's reason.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "betrace/kms/result.h"

namespace betrace::kms {

// Nothing when there is no such file.
Result<std::optional<std::string>> read_whole_file(const std::string& path);
// The old content or the new one, never a part.
Status replace_file(const std::string& path, std::string_view text);
// Likewise for whoever reads it now; on the disk only after sync_file_system().
Status write_file(const std::string& path, std::string_view text);
// All that was written to the file system that holds `folder` is on the disk. Linux: syncfs(2).
Status sync_file_system(const std::string& folder);
// Adds `line` and a line end. A line that a crash has cut off before is ended first.
Status append_line(const std::string& path, std::string_view line);
// What was renamed or made in `folder` is there after a crash as well.
Status sync_folder(const std::string& folder);

// When root has made the open file: gives it to the owner of `folder`. False, and errno, when that
// fails.
bool give_to_owner_of(int descriptor, const std::string& folder);
// Renames `from` to `to` unless `to` exists: 0, or errno.
int rename_without_replacing(const std::string& from, const std::string& to);

// Held by one process and thread at a time, until it goes; by a file ".lock" that others cannot
// open. Taking it waits for 5 s at the longest.
class FolderLock {
 public:
  static Result<FolderLock> take(const std::string& folder);
  // Does not wait. Errors: conflict when somebody holds it.
  static Result<FolderLock> try_take(const std::string& folder);
  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&&) = delete;

 private:
  explicit FolderLock(int descriptor) : descriptor_(descriptor) {}
  static Result<FolderLock> open(const std::string& folder);
  bool acquire() const;  // false, and errno
  int descriptor_;
};

}  // namespace betrace::kms
