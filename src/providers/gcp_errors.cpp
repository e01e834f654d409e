#include "providers/gcp_errors.h"

#include <array>

#include <fmt/format.h>

#include "betrace/kms/provider.h"

#include "base/http_time.h"
#include "providers/json_answer.h"

namespace betrace::kms {
namespace {

struct Meaning {
  std::string_view status;
  int http;  // where there is no status
  ErrorCode code;
};
// https://cloud.google.com/apis/design/errors
constexpr std::array meanings{
    Meaning{"UNAUTHENTICATED", 401, ErrorCode::kms_access_denied},
    Meaning{"PERMISSION_DENIED", 403, ErrorCode::kms_access_denied},
    Meaning{"NOT_FOUND", 404, ErrorCode::kms_key_disabled},
    Meaning{"FAILED_PRECONDITION", 0, ErrorCode::kms_key_disabled},
    Meaning{"INVALID_ARGUMENT", 400, ErrorCode::invalid_argument},
    Meaning{"RESOURCE_EXHAUSTED", 429, ErrorCode::kms_unavailable},
    Meaning{"DEADLINE_EXCEEDED", 504, ErrorCode::kms_unavailable},
    Meaning{"UNAVAILABLE", 503, ErrorCode::kms_unavailable},
    Meaning{"INTERNAL", 500, ErrorCode::kms_unavailable},
    Meaning{"UNKNOWN", 0, ErrorCode::kms_unavailable},
    Meaning{"CANCELLED", 499, ErrorCode::kms_unavailable},
    Meaning{"ABORTED", 409, ErrorCode::kms_unavailable},
    Meaning{"UNIMPLEMENTED", 501, ErrorCode::invalid_argument},
};

}  // namespace

Error classify_gcp_error(const HttpAnswer& answer, std::string_view purpose, SystemTime now) {
  const auto json = JsonAnswer::parse(answer.body);
  const auto status = json ? json->text("/error/status").value_or("") : "";
  const auto words = json ? json->text("/error/message").value_or("") : "";
  Error error{
      .code = answer.status >= 500 ? ErrorCode::kms_unavailable : ErrorCode::invalid_argument,
      .type = status.empty() ? fmt::format("HTTP {}", answer.status) : std::string(status),
      .retry_after = parse_retry_after(answer.header("retry-after"), now)};
  for (const auto& each : meanings) {
    if (status.empty() ? each.http == answer.status : each.status == status) error.code = each.code;
  }
  error.throttled = status == "RESOURCE_EXHAUSTED" || answer.status == 429;
  error.message = fmt::format("Failed to {}: {} (HTTP {}{}{})", purpose,
                              words.empty() ? "without a reason" : words, answer.status,
                              status.empty() ? "" : " ", status);
  if (error.code == ErrorCode::invalid_argument && purpose == "decrypt" &&
      words.starts_with("Decryption failed")) {
    error.code = ErrorCode::invalid_ciphertext;
    error.message = fmt::format("{} ({})", context_mismatch_message, words);
  }
  return error;
}

bool refuses_token(const Error& error) {
  return error.type == "UNAUTHENTICATED" || error.type == "HTTP 401";
}

}  // namespace betrace::kms
