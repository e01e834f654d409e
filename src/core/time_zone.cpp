#include "core/time_zone.h"

#include <exception>
#include <string>

#include <date/tz.h>

namespace betrace::kms {
namespace {

const date::time_zone& zone_at(const void* zone) {
  return *static_cast<const date::time_zone*>(zone);
}

date::sys_seconds to_vendor(std::chrono::sys_seconds time) {
  return date::sys_seconds(time.time_since_epoch());
}

date::local_seconds to_vendor(std::chrono::local_seconds time) {
  return date::local_seconds(time.time_since_epoch());
}

}  // namespace

Result<TimeZone> TimeZone::find(std::string_view name) {
  if (name == "UTC") return TimeZone(nullptr);
  try {
    return TimeZone(date::locate_zone(std::string(name)));
  } catch (const std::exception&) {
    return fail(ErrorCode::invalid_argument,
                "'" + std::string(name) +
                    "' is not in this machine's time zone database; a name such as UTC or "
                    "Europe/Berlin is expected");
  }
}

std::chrono::local_seconds TimeZone::to_local(std::chrono::sys_seconds time) const {
  if (zone_ == nullptr) return std::chrono::local_seconds(time.time_since_epoch());
  return std::chrono::local_seconds(zone_at(zone_).to_local(to_vendor(time)).time_since_epoch());
}

std::optional<std::chrono::sys_seconds> TimeZone::to_system(std::chrono::local_seconds time) const {
  if (zone_ == nullptr) return std::chrono::sys_seconds(time.time_since_epoch());
  const auto info = zone_at(zone_).get_info(to_vendor(time));
  if (info.result == date::local_info::nonexistent) return std::nullopt;
  const auto& offset =
      info.result == date::local_info::ambiguous ? info.second.offset : info.first.offset;
  return std::chrono::sys_seconds(time.time_since_epoch() - offset);
}

}  // namespace betrace::kms
