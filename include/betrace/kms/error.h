// What went wrong, in the closed vocabulary that every consumer maps in one switch: HTTP status,
// exit code, retryability. The message is for people and carries the provider's own words verbatim;
// it never carries a secret.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace betrace::kms {

// The stable codes of the HTTP problem documents, one for one.
enum class ErrorCode {
  invalid_argument,
  malformed_json,
  reserved_payload,
  invalid_ciphertext,
  unauthenticated,
  permission_denied,
  not_found,
  tenant_not_found,
  key_not_found,
  method_not_allowed,
  request_timeout,
  conflict,
  rotation_running,
  already_exists,
  destroyed,
  payload_too_large,
  header_too_large,
  rate_limited,
  internal,
  corrupt,
  not_implemented,
  kms_access_denied,
  kms_key_disabled,
  kms_unavailable,
  kms_timeout,
  circuit_open,
  wrapped_elsewhere,
  overloaded,
  store_unavailable,
};

// The code as it is written on the wire, e.g. "tenant_not_found".
std::string_view to_string(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message = {};
  // The provider's own name of the error, e.g. "DisabledException"; empty when it gave none.
  std::string type = {};
  // How long the other side asked us to wait, e.g. by Retry-After.
  std::optional<std::chrono::milliseconds> retry_after = {};
  // The other side refused because of our rate; a retry backs off exponentially.
  bool throttled = false;
};

}  // namespace betrace::kms
