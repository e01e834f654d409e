// Times in HTTP's headers. Any bytes may be given.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "betrace/kms/clock.h"

namespace betrace::kms {

// IMF-fixdate (RFC 9110, section 5.6.7), e.g. "Mon, 23 Nov 2026 02:00:00 GMT".
std::optional<SystemTime> parse_http_date(std::string_view text);
// Seconds or a date (RFC 9110, section 10.2.3), at most an hour; nothing when it is neither.
std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view text, SystemTime now);

}  // namespace betrace::kms
