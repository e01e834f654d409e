// Wall-clock time of a place, by the machine's time zone database.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "betrace/kms/result.h"

namespace betrace::kms {

class TimeZone {
 public:
  // "UTC", which needs no database, "Europe/Berlin". Errors: invalid_argument.
  static Result<TimeZone> find(std::string_view name);

  std::chrono::local_seconds to_local(std::chrono::sys_seconds time) const;
  // Nothing for a time that a clock put forward has left out; the later of two that a clock put
  // back has shown twice.
  std::optional<std::chrono::sys_seconds> to_system(std::chrono::local_seconds time) const;

 private:
  explicit TimeZone(const void* zone) : zone_(zone) {}
  const void* zone_;  // of the database, which lives as long as the process; null: UTC
};

}  // namespace betrace::kms
