#include "providers/azure_errors.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/http_time.h"
#include "providers/json_answer.h"

namespace betrace::kms {
namespace {

constexpr std::size_t words_max = 4096;

// Whether a 403 is about the key itself, not about who asks. The words count only where Azure gives
// no inner code: vaults, keys and callers, which other refusals quote, may be called "disabled",
// and ForbiddenByConnection says that of the public network.
bool is_of_key(std::string_view inner, std::string_view words) {
  constexpr std::array codes{"KeyDisabled", "KeyExpired", "KeyNotYetValid",
                             "KeyOperationForbidden"};
  constexpr std::array sentences{"a disabled key", "an expired key", "not yet valid",
                                 "not permitted on this key"};
  if (!inner.empty()) return std::ranges::find(codes, inner) != codes.end();
  return std::ranges::any_of(sentences, [&](const char* each) { return words.contains(each); });
}

ErrorCode code_of(int status, std::string_view inner, std::string_view words) {
  switch (status) {
    case 401:
      return ErrorCode::kms_access_denied;
    case 403:
      return is_of_key(inner, words) ? ErrorCode::kms_key_disabled : ErrorCode::kms_access_denied;
    case 404:
    case 409:
      return ErrorCode::kms_key_disabled;
    case 408:
    case 429:
      return ErrorCode::kms_unavailable;
    default:
      return status >= 500 ? ErrorCode::kms_unavailable : ErrorCode::invalid_argument;
  }
}

// Azure writes several lines, and an error is one.
std::string on_one_line(std::string_view words) {
  std::string line(words.substr(0, words_max));
  std::ranges::replace_if(line, [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  return line;
}

}  // namespace

Error classify_azure_error(const HttpAnswer& answer, std::string_view purpose, SystemTime now) {
  const auto json = JsonAnswer::parse(answer.body);
  const auto text = [&](std::string_view pointer) {
    return json ? json->text(pointer).value_or("") : std::string_view();
  };
  const auto code = text("/error/code"), inner = text("/error/innererror/code");
  const auto words = on_one_line(text("/error/message"));
  return {.code = code_of(answer.status, inner, words),
          .message = fmt::format("Failed to {}: {} (HTTP {}{}{}{}{})", purpose,
                                 words.empty() ? "no error of a key vault" : words, answer.status,
                                 code.empty() ? "" : " ", code, inner.empty() ? "" : ", ", inner),
          .type = std::string(inner.empty() ? code : inner),
          .retry_after = parse_retry_after(answer.header("retry-after"), now),
          .throttled = answer.status == 429};
}

}  // namespace betrace::kms
