#include "evidence/bundle_lines.h"

#include <cerrno>
#include <system_error>

#include <fmt/format.h>

namespace betrace::kms {
namespace {

constexpr std::size_t head_bytes_max = 64U << 20, line_bytes_max = 1U << 20;

}  // namespace

Result<bool> BundleLines::next(std::string& line) {
  try {
    return read(line);
  } catch (const std::ios_base::failure&) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("it cannot be read: {}", std::generic_category().message(errno)));
  }
}

Result<bool> BundleLines::read(std::string& line) {
  line.clear();
  const auto bytes_max = lines_ == 0 ? head_bytes_max : line_bytes_max;
  for (int c = 0; (c = file_.rdbuf()->sbumpc()) != std::char_traits<char>::eof();) {
    if (c == '\n') {
      ++lines_;
      return true;
    }
    if (line.size() == bytes_max) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("line {} has more than {} bytes", lines_ + 1, bytes_max));
    }
    line += static_cast<char>(c);
  }
  cut_off_ = cut_off_ || !line.empty();
  return !line.empty();
}

}  // namespace betrace::kms
