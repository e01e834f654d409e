#include "app/config_secrets.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/config_values.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

constexpr std::size_t secret_bytes_max = 64 * 1024;

class File {
 public:
  explicit File(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

Result<std::size_t> read_all(int fd, std::span<std::uint8_t> buffer) {
  std::size_t size = 0;
  while (size < buffer.size()) {
    const auto got = ::read(fd, buffer.data() + size, buffer.size() - size);
    if (got == 0) break;
    if (got > 0) {
      size += static_cast<std::size_t>(got);
    } else if (errno != EINTR) {
      return fail(ErrorCode::invalid_argument, std::strerror(errno));
    }
  }
  return size;
}

}  // namespace

Result<SecretBytes> read_secret_file(const std::string& path, std::vector<std::string>& warnings) {
  const File file(path);
  struct stat status{};
  if (file.fd() < 0 || ::fstat(file.fd(), &status) != 0) {
    return fail(ErrorCode::invalid_argument, std::strerror(errno));
  }
  if ((status.st_mode & S_IROTH) != 0) {
    warnings.push_back(
        fmt::format("secret file '{}' {} (mode {:04o}); its mode should be 0400 or 0600", path,
                    readable_secret_warning, status.st_mode & 07777));
  }
  SecretBytes buffer(secret_bytes_max + 1);
  const auto size = TRY(read_all(file.fd(), buffer.expose_mutable()));
  if (size > secret_bytes_max) {
    return fail(ErrorCode::invalid_argument, fmt::format("larger than {} bytes", secret_bytes_max));
  }
  auto content = buffer.expose().first(size);
  while (!content.empty() && (content.back() == '\n' || content.back() == '\r')) {
    content = content.first(content.size() - 1);
  }
  if (content.empty()) return fail(ErrorCode::invalid_argument, "it is empty");
  if (std::ranges::any_of(content, [](std::uint8_t c) { return c < 0x20 || c == 0x7F; })) {
    return fail(ErrorCode::invalid_argument,
                "it holds more than one line, or control characters; accepted is one line");
  }
  return SecretBytes::copy_of(content);
}

}  // namespace betrace::kms
