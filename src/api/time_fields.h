// Points and lengths of time as callers write them.
#pragma once

#include <chrono>
#include <string_view>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

// "2025-10-01T12:00:00Z", "2025-10-01T14:00:00.250+02:00" (RFC 3339), or a date.
struct Moment {
  SystemTime at;              // of a date its first moment, UTC
  bool is_whole_day = false;  // it was a date
};
// Years 1970 to 9999. Errors: invalid_argument names `name`.
Result<Moment> parse_moment(std::string_view name, std::string_view text);

// "90s", "30m", "1h", "7d", or ISO 8601: "PT1H30M", "P1DT12H". At most 366 days.
// Errors: invalid_argument names `name`.
Result<std::chrono::seconds> parse_duration(std::string_view name, std::string_view text);

}  // namespace betrace::kms
