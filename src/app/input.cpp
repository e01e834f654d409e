#include "app/input.h"

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <istream>
#include <system_error>

#include <fmt/format.h>

namespace betrace::kms {

Result<WipedString> read_input(const std::string& file, const World& world, std::size_t bytes_max) {
  const bool standard = file == "-";
  const std::string name = standard ? "standard input" : file;
  const auto failed = [&](const std::string& reason) {
    return fail(ErrorCode::invalid_argument, fmt::format("cannot read {}: {}", name, reason));
  };
  std::ifstream opened;
  if (!standard) {
    std::error_code error;
    if (std::filesystem::is_directory(file, error)) return failed("it is a directory");
    opened.open(file, std::ios::binary);
    if (!opened) return failed(std::generic_category().message(errno));
  }
  std::istream& in = standard ? world.in : opened;
  WipedString text;
  std::array<char, 65536> block{};
  while (in.read(block.data(), block.size()) || in.gcount() > 0) {
    text.append(block.data(), static_cast<std::size_t>(in.gcount()));
    if (text.size() > bytes_max) break;
  }
  wipe(block.data(), block.size());
  if (in.bad()) return failed(std::generic_category().message(errno));
  if (text.size() > bytes_max) return failed(fmt::format("more than {} bytes", bytes_max));
  return text;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blank = " \t\r\n";
  const auto first = text.find_first_not_of(blank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

}  // namespace betrace::kms
