#include "app/admin_token.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

constexpr std::size_t token_bytes_max = 4096;

class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  operator int() const { return descriptor_; }

 private:
  int descriptor_;
};

std::string reason(int error) { return std::generic_category().message(error); }

std::unexpected<Error> failed(int error, std::string_view verb, const std::string& path) {
  const auto code = error == ENOENT || error == ENOTDIR ? ErrorCode::not_found
                    : error == EACCES || error == EPERM ? ErrorCode::permission_denied
                                                        : ErrorCode::invalid_argument;
  return fail(code,
              fmt::format("cannot {} the admin token file {}: {}", verb, path, reason(error)));
}

Status write_whole(int file, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const auto count = write(file, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed(errno, "write", path);
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  if (fsync(file) != 0) return failed(errno, "write", path);
  return {};
}

// The file appears under its name complete or not at all: a reader never sees half a token, and of
// two writers the first wins, because link(2) does not replace.
Status make_token_file(const std::string& path) {
  std::array<std::uint8_t, 32> random{};
  random_bytes(random);
  WipedString text;
  base64url_append(random, text);
  wipe(random.data(), random.size());
  text += '\n';

  std::array<std::uint8_t, 8> suffix{};
  random_bytes(suffix);
  const auto draft = fmt::format("{}.{}", path, hex_encode(suffix));
  Status written;
  {
    const File file(
        open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file < 0) return failed(errno, "create", path);
    written = write_whole(file, text, path);
  }
  if (written && link(draft.c_str(), path.c_str()) != 0 && errno != EEXIST) {
    written = failed(errno, "create", path);
  }
  unlink(draft.c_str());
  TRY(written);
  const File directory(
      open(std::filesystem::path(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory >= 0) fsync(directory);
  return {};
}

}  // namespace

Status make_data_directory(const std::string& path, std::string_view key) {
  std::error_code error;
  const std::filesystem::path directory(path);
  if (directory.has_parent_path()) {
    std::filesystem::create_directories(directory.parent_path(), error);
  }
  if (!error && mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    error = {errno, std::generic_category()};
  }
  if (!error && !std::filesystem::is_directory(directory, error) && !error) {
    error = std::make_error_code(std::errc::not_a_directory);
  }
  if (!error && access(path.c_str(), W_OK | X_OK) != 0) error = {errno, std::generic_category()};
  if (!error) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: cannot use {}: {}; a directory that this user may write is expected",
                          key, path, error.message()));
}

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

Result<WipedString> read_token_file(const std::string& path) {
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file < 0) return failed(errno, "read", path);
  WipedString text(token_bytes_max + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const auto count = read(file, text.data() + size, text.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed(errno, "read", path);
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  const bool too_long = size > token_bytes_max;
  text.resize(size);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (too_long || !is_token(text)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the admin token file {} {}; one line of visible ASCII without blanks "
                            "is expected",
                            path,
                            text.empty() ? "is empty"
                            : too_long   ? "is too long"
                                         : "holds no token"));
  }
  return text;
}

Result<WipedString> read_or_make_token_file(const std::string& path) {
  auto found = read_token_file(path);
  if (found || found.error().code != ErrorCode::not_found) return found;
  TRY(make_token_file(path));
  return read_token_file(path);
}

bool readable_by_others(const std::string& path) {
  struct stat status{};
  return stat(path.c_str(), &status) == 0 && (status.st_mode & (S_IRGRP | S_IROTH)) != 0;
}

}  // namespace betrace::kms
