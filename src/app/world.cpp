#include "app/world.h"

#include <algorithm>
#include <ostream>

#include "base/encoding.h"

namespace betrace::kms {

ExitCode exit_code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::malformed_json:
    case ErrorCode::unauthenticated:
    case ErrorCode::permission_denied:
    case ErrorCode::not_found:
    case ErrorCode::method_not_allowed:
    case ErrorCode::payload_too_large:
    case ErrorCode::header_too_large:
    case ErrorCode::not_implemented:
      return ExitCode::usage;
    case ErrorCode::reserved_payload:
    case ErrorCode::invalid_ciphertext:
    case ErrorCode::tenant_not_found:
    case ErrorCode::key_not_found:
    case ErrorCode::request_timeout:
    case ErrorCode::conflict:
    case ErrorCode::rotation_running:
    case ErrorCode::already_exists:
    case ErrorCode::destroyed:
    case ErrorCode::rate_limited:
    case ErrorCode::internal:
    case ErrorCode::corrupt:
    case ErrorCode::kms_access_denied:
    case ErrorCode::kms_key_disabled:
    case ErrorCode::kms_unavailable:
    case ErrorCode::kms_timeout:
    case ErrorCode::circuit_open:
    case ErrorCode::wrapped_elsewhere:
    case ErrorCode::overloaded:
    case ErrorCode::store_unavailable:
      return ExitCode::check_failed;
  }
  return ExitCode::check_failed;
}

ExitCode complain(const World& world, std::string_view message, ExitCode code) {
  world.err << world.program << ": " << printable(message) << '\n';
  return code;
}

std::string printable(std::string_view text) {
  std::string line(text);
  std::ranges::replace(line, '\n', ' ');
  return without_controls(line);
}

}  // namespace betrace::kms
