#include "stores/schema_report.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

#include <fmt/format.h>

#include "stores/migrations.h"

namespace betrace::kms {
namespace {

// https://www.sqlite.org/fileformat.html#the_database_header
constexpr std::size_t header_bytes = 100, version_at = 60, application_at = 68;
constexpr std::string_view magic("SQLite format 3\0", 16);

std::int64_t big_endian(const std::array<char, header_bytes>& header, std::size_t at) {
  std::int64_t value = 0;
  for (std::size_t i = 0; i < 4; ++i)
    value = value * 256 + static_cast<std::uint8_t>(header[at + i]);
  return value;
}

}  // namespace

Result<SchemaReport> read_schema(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return fail(ErrorCode::not_found, fmt::format("{}: {}", path, std::strerror(errno)));
  }
  std::array<char, header_bytes> header{};
  file.read(header.data(), header.size());
  std::error_code error;
  const auto log_bytes = std::filesystem::file_size(path + "-wal", error);
  const bool logged = !error && log_bytes > 0;
  SchemaReport report{.newest = static_cast<int>(migrations().size()), .exact = !logged};
  if (file.gcount() == 0) {  // made, and nothing written to it yet
    report.exact = false;
    return report;
  }
  if (file.gcount() != header_bytes || std::string_view(header.data(), magic.size()) != magic) {
    return fail(ErrorCode::store_unavailable, fmt::format("{} is not a SQLite database", path));
  }
  report.version = static_cast<int>(big_endian(header, version_at));
  if (report.version != 0 && big_endian(header, application_at) != sqlite_application_id) {
    return fail(ErrorCode::store_unavailable,
                fmt::format("{} is a SQLite database of another program", path));
  }
  if (report.version == 0) report.exact = false;
  return report;
}

}  // namespace betrace::kms
