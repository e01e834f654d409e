#include "app/progress.h"

#include <algorithm>
#include <ostream>
#include <utility>

#include <fmt/format.h>

namespace betrace::kms {

std::string progress_bar(std::uint64_t done, std::uint64_t total) {
  constexpr std::uint64_t width = 30;
  const auto filled = total == 0 ? 0 : std::min(width, width * done / total);
  // Cut, so that 100 means all of them.
  const auto percent = total == 0 ? 0 : std::min<std::uint64_t>(100, 100 * done / total);
  return fmt::format("[{}{}] {}%  {}/{}", std::string(filled, '#'),
                     std::string(width - filled, '.'), percent, done, total);
}

void Progress::draw(const std::string& text) {
  if (!world_.err_is_terminal) return;
  const auto rest = width_ > text.size() ? width_ - text.size() : 0;
  world_.err << '\r' << text << std::string(rest, ' ') << std::flush;
  width_ = text.size();
}

void Progress::end() {
  if (std::exchange(width_, 0) > 0) world_.err << std::endl;
}

}  // namespace betrace::kms
