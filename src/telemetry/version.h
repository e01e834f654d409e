// The release, as `betrace-kms version`, the build_info metric and the user agent name it.
#pragma once

#include <string_view>

namespace betrace::kms {

std::string_view version();  // "0.1.0"

}  // namespace betrace::kms
