#include "providers/azure_errors.h"

#include <fmt/format.h>

#include "providers/aws_errors.h"
#include "providers/json_answer.h"

namespace betrace::kms {
namespace {

ErrorCode code_of(int status, std::string_view inner, std::string_view words) {
  const auto says = [&](std::string_view part) {
    return inner.contains(part) || words.contains(part);
  };
  switch (status) {
    case 401:
      return ErrorCode::kms_access_denied;
    case 403:
      // The key's own state has the status of a policy.
      return says("KeyDisabled") || says("disabled") || says("KeyNotYetValid") ||
                     says("KeyExpired") || says("expired") || says("not yet valid")
                 ? ErrorCode::kms_key_disabled
                 : ErrorCode::kms_access_denied;
    case 404:
    case 409:
      return ErrorCode::kms_key_disabled;
    case 429:
      return ErrorCode::kms_unavailable;
    default:
      return status >= 500 ? ErrorCode::kms_unavailable : ErrorCode::invalid_argument;
  }
}

}  // namespace

Error classify_azure_error(const HttpAnswer& answer, std::string_view purpose, SystemTime now) {
  const auto json = JsonAnswer::parse(answer.body);
  const auto text = [&](std::string_view pointer) {
    return json ? json->text(pointer).value_or("") : std::string_view();
  };
  const auto code = text("/error/code"), inner = text("/error/innererror/code");
  const auto words = text("/error/message");
  return {.code = code_of(answer.status, inner, words),
          .message = fmt::format("Failed to {}: {} (HTTP {}{}{}{}{})", purpose,
                                 words.empty() ? "without a reason" : words, answer.status,
                                 code.empty() ? "" : " ", code, inner.empty() ? "" : ", ", inner),
          .type = std::string(inner.empty() ? code : inner),
          .retry_after = parse_retry_after(answer.header("retry-after"), now),
          .throttled = answer.status == 429};
}

}  // namespace betrace::kms
