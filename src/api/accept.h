// Which of several media types an Accept header asks for (RFC 9110, section 12.5.1).
#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace betrace::kms {

// The place in `offered` of the one that is wanted most; of equals the one that is named rather
// than covered by a wildcard, then the earlier one. Without a header the first; nothing when none
// fits.
std::optional<std::size_t> preferred_type(std::string_view accept,
                                          std::span<const std::string_view> offered);

}  // namespace betrace::kms
