#include "base/durable_file.h"

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/try.h"

namespace betrace::kms {
namespace {

std::unexpected<Error> failed(std::string_view verb, const std::string& path) {
  return fail(ErrorCode::store_unavailable,
              fmt::format("cannot {} {}: {}", verb, path, std::generic_category().message(errno)));
}

class File {
 public:
  File(const std::string& path, int flags) : descriptor_(::open(path.c_str(), flags, 0600)) {}
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  bool is_open() const { return descriptor_ >= 0; }
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const auto count = ::write(descriptor, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

std::string folder_of(const std::string& path) {
  auto folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

Status replace(const std::string& path, std::string_view text, bool synchronise) {
  const auto draft = path + ".new";
  const File file(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
  if (!file.is_open()) return failed("write", draft);
  Status status;
  if (!give_to_owner_of(file.get(), folder_of(path)) || !write_all(file.get(), text) ||
      (synchronise && ::fsync(file.get()) != 0)) {
    status = failed("write", draft);
  } else if (::rename(draft.c_str(), path.c_str()) != 0) {
    status = failed("replace", path);
  }
  if (!status) ::unlink(draft.c_str());  // where a disk is full, it would keep it so
  return status;
}

}  // namespace

Result<std::optional<std::string>> read_whole_file(const std::string& path) {
  const File file(path, O_RDONLY | O_CLOEXEC);
  if (!file.is_open() && errno == ENOENT) return std::nullopt;
  if (!file.is_open()) return failed("read", path);
  std::string text;
  std::string part(65536, '\0');
  for (;;) {
    const auto count = ::read(file.get(), part.data(), part.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed("read", path);
    if (count == 0) return text;
    text.append(part, 0, static_cast<std::size_t>(count));
  }
}

Status write_file(const std::string& path, std::string_view text) {
  return replace(path, text, false);
}

Status replace_file(const std::string& path, std::string_view text) {
  TRY(replace(path, text, true));
  return sync_folder(folder_of(path));
}

Status sync_file_system(const std::string& folder) {
  const File directory(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (!directory.is_open() || ::syncfs(directory.get()) != 0) return failed("synchronise", folder);
  return {};
}

Status append_line(const std::string& path, std::string_view line) {
  bool is_new = false;
  {
    const File file(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (!file.is_open()) return failed("write", path);
    const auto size = ::lseek(file.get(), 0, SEEK_END);
    char last = '\n';
    if (size < 0 || (size > 0 && ::pread(file.get(), &last, 1, size - 1) != 1)) {
      return failed("read", path);
    }
    is_new = size == 0;
    if (is_new && !give_to_owner_of(file.get(), folder_of(path))) return failed("give away", path);
    std::string text = last == '\n' ? "" : "\n";
    text.append(line) += '\n';
    if (!write_all(file.get(), text) || ::fsync(file.get()) != 0) return failed("write", path);
  }
  return is_new ? sync_folder(folder_of(path)) : Status{};
}

Status sync_folder(const std::string& folder) {
  const File directory(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (!directory.is_open() || ::fsync(directory.get()) != 0) return failed("synchronise", folder);
  return {};
}

bool give_to_owner_of(int descriptor, const std::string& folder) {
  if (::geteuid() != 0) return true;
  struct stat owner{};
  return ::stat(folder.c_str(), &owner) == 0 &&
         ::fchown(descriptor, owner.st_uid, owner.st_gid) == 0;
}

int rename_without_replacing(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  if (::link(from.c_str(), to.c_str()) != 0) return errno;
  ::unlink(from.c_str());
  return 0;
}

Result<FolderLock> FolderLock::open(const std::string& folder) {
  const auto path = folder + "/.lock";
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor < 0) return failed("open", path);
  FolderLock lock(descriptor);
  if (!give_to_owner_of(descriptor, folder)) return failed("give away", path);
  return lock;
}

bool FolderLock::acquire() const {
  int result = 0;
  do {
    result = ::flock(descriptor_, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  return result == 0;
}

Result<FolderLock> FolderLock::take(const std::string& folder) {
  constexpr std::chrono::milliseconds pause{5};
  constexpr int attempts = 1000;
  auto lock = TRY(open(folder));
  for (int attempt = 0; !lock.acquire(); ++attempt) {
    if (errno != EWOULDBLOCK || attempt == attempts) return failed("lock", folder + "/.lock");
    std::this_thread::sleep_for(pause);
  }
  return lock;
}

Result<FolderLock> FolderLock::try_take(const std::string& folder) {
  auto lock = TRY(open(folder));
  if (lock.acquire()) return lock;
  if (errno != EWOULDBLOCK) return failed("lock", folder + "/.lock");
  return fail(ErrorCode::conflict, fmt::format("another process uses {}", folder));
}

FolderLock::FolderLock(FolderLock&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}

FolderLock::~FolderLock() {
  if (descriptor_ >= 0) ::close(descriptor_);  // the lock goes with it
}

}  // namespace betrace::kms
