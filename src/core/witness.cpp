#include "core/witness.h"

#include <cerrno>
#include <cstdio>
#include <system_error>

#include <fmt/format.h>

#include "base/durable_file.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {

Witness::Witness(std::string folder) : folder_(std::move(folder)) {}

std::string Witness::mark_path() const { return folder_ + "/high-water-mark"; }
std::string Witness::tombstones_path() const { return folder_ + "/tombstones"; }

Result<std::optional<std::string>> Witness::mark() const {
  auto text = TRY(read_whole_file(mark_path()));
  if (text && text->ends_with('\n')) text->pop_back();
  return text;
}

Status Witness::raise_mark(const SealedEpoch& epoch, ByteView service_public_key) {
  const auto lock = TRY(FolderLock::take(folder_));
  if (const auto text = TRY(mark())) {
    // What cannot be read is left for a person to look at; the next start says so.
    const auto known = TRY(open_epoch(*text, service_public_key));
    if (known.epoch.number >= epoch.epoch.number) return {};
  }
  return replace_file(mark_path(), epoch.envelope + "\n");
}

Result<std::string> Witness::set_mark_aside(SystemTime now) {
  const auto lock = TRY(FolderLock::take(folder_));
  auto aside = fmt::format("{}.superseded-{}", mark_path(), file_stamp(now));
  if (std::rename(mark_path().c_str(), aside.c_str()) != 0) {
    return fail(ErrorCode::store_unavailable, fmt::format("cannot rename {}: {}", mark_path(),
                                                          std::generic_category().message(errno)));
  }
  TRY(sync_folder(folder_));
  return aside;
}

Result<std::vector<std::string>> Witness::tombstones() const {
  std::vector<std::string> certificates;
  const auto text = TRY(read_whole_file(tombstones_path())).value_or(std::string());
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    if (end > 0) certificates.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return certificates;
}

Status Witness::bury(std::string_view certificate) {
  const auto lock = TRY(FolderLock::take(folder_));
  return append_line(tombstones_path(), certificate);
}

}  // namespace betrace::kms
