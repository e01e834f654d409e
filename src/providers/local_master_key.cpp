#include "providers/local_master_key.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/durable_file.h"
#include "base/encoding.h"
#include "base/try.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int get() const { return descriptor_; }
  bool is_open() const { return descriptor_ >= 0; }

 private:
  int descriptor_;
};

std::unexpected<Error> refuse(const std::string& path, std::string_view what) {
  return fail(ErrorCode::invalid_argument, fmt::format("local master key {}: {}", path, what));
}

std::unexpected<Error> refuse_errno(const std::string& path, std::string_view step) {
  const int error = errno;
  return refuse(path, fmt::format("{}: {}", step, std::generic_category().message(error)));
}

bool write_all(int descriptor, std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

bool read_all(int descriptor, std::span<std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::read(descriptor, bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

Status create(const std::string& path) {
  std::array<std::uint8_t, 8> suffix{};
  random_bytes(suffix);
  const std::string fresh = fmt::format("{}.{}.new", path, hex_encode(suffix));
  const SecretBytes key = SecretBytes::random(aes_key_bytes);
  {
    const File file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file.is_open()) return refuse_errno(path, "cannot be made");
    if (::fchmod(file.get(), 0600) != 0 || !write_all(file.get(), key.expose()) ||
        ::fsync(file.get()) != 0) {
      auto error = refuse_errno(path, "cannot be written");
      ::unlink(fresh.c_str());
      return error;
    }
  }
  // The first of several processes wins, and the others read its key.
  if (const int error = rename_without_replacing(fresh, path); error != 0) {
    ::unlink(fresh.c_str());
    if (error == EEXIST) return {};
    errno = error;
    return refuse_errno(path, "cannot be made");
  }
  std::string folder = std::filesystem::path(path).parent_path().string();
  if (folder.empty()) folder = ".";
  const File directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.is_open() || ::fsync(directory.get()) != 0) {
    return refuse_errno(path, "its folder cannot be synchronised");
  }
  return {};
}

Result<SecretBytes> read_key(const std::string& path, const File& file) {
  struct stat about{};
  if (::fstat(file.get(), &about) != 0) return refuse_errno(path, "cannot be read");
  if (!S_ISREG(about.st_mode)) return refuse(path, "is not a plain file");
  if (about.st_size != static_cast<off_t>(aes_key_bytes)) {
    return refuse(path, fmt::format("has {} bytes, a master key has exactly {}; restore the file "
                                    "from a backup",
                                    about.st_size, aes_key_bytes));
  }
  if ((about.st_mode & 077) != 0) {
    logger(log_category::kms)
        .warn("local master key {} is open to other users (mode {:04o}): chmod 600 {}", path,
              about.st_mode & 07777, path);
  }
  SecretBytes key(aes_key_bytes);
  if (!read_all(file.get(), key.expose_mutable())) return refuse_errno(path, "cannot be read");
  return key;
}

}  // namespace

Result<SecretBytes> open_master_key(const std::string& path, bool may_create) {
  // O_NONBLOCK: a named pipe put in the file's place must not hang the start.
  constexpr int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  {
    const File file(::open(path.c_str(), flags));
    if (file.is_open()) return read_key(path, file);
  }
  if (errno != ENOENT) return refuse_errno(path, "cannot be read");
  if (!may_create) {
    return refuse(path,
                  "does not exist, but the store holds keys that were wrapped under it. Restore "
                  "the file from a backup, or point betrace.kms.local.master-key-file to it; a new "
                  "master key could open none of them, so none was made");
  }
  TRY(create(path));
  const File file(::open(path.c_str(), flags));
  if (!file.is_open()) return refuse_errno(path, "cannot be read");
  return read_key(path, file);
}

}  // namespace betrace::kms
