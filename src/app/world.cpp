#include "app/world.h"

#include <ostream>

#include <fmt/format.h>

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
  std::string out;
  out.reserve(text.size());
  unsigned char before = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    // U+0080 to U+009F are control characters too, C2 80 to C2 9F in UTF-8.
    const bool control = byte < 0x20 || byte == 0x7f || (before == 0xc2 && byte < 0xa0);
    if (c == '\n') {
      out += ' ';
    } else if (control) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
    before = byte;
  }
  return out;
}

}  // namespace betrace::kms
