#include "providers/file_secret.h"

#include <cerrno>
#include <fstream>
#include <system_error>

#include <fmt/format.h>
#include <sys/stat.h>

namespace betrace::kms {
namespace {

constexpr std::size_t size_max = 64 << 10;
constexpr std::string_view white = " \t\r\n";

}  // namespace

std::vector<std::int64_t> FileSecret::stamp() const {
  struct stat is{};
  if (::stat(path_.c_str(), &is) != 0) return {};
  return {static_cast<std::int64_t>(is.st_ino), is.st_size, is.st_mtim.tv_sec, is.st_mtim.tv_nsec};
}

Result<WipedString> FileSecret::read() {
  const auto unusable = [&](std::string_view why) {
    return fail(ErrorCode::kms_access_denied, fmt::format("{}={}: {}", what_, path_, why));
  };
  // Before the content: what is written meanwhile is then read again.
  stamp_ = stamp();
  std::ifstream file(path_, std::ios::binary);
  if (!file) return unusable(std::generic_category().message(errno));
  WipedString text(size_max + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > size_max) return unusable("it is larger than 64 KiB");
  const auto begin = text.find_first_not_of(white);
  if (begin == WipedString::npos) return unusable("it is empty");
  return text.substr(begin, text.find_last_not_of(white) - begin + 1);
}

}  // namespace betrace::kms
