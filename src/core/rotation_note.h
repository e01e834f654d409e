// A rotation run as it is kept in the store.
#pragma once

#include <string>
#include <string_view>

#include "betrace/kms/rotation.h"

namespace betrace::kms {

inline constexpr std::string_view rotation_lease = "rotation";
inline constexpr std::string_view latest_rotation_note = "rotation-latest";
inline constexpr std::string_view rotation_run_prefix = "rotation-run/";

std::string to_text(const RotationRun& run);
// Errors: corrupt.
Result<RotationRun> parse_rotation_run(std::string_view text);

}  // namespace betrace::kms
