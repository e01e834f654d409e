#include "providers/aws_errors.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "betrace/kms/provider.h"

#include "base/http_time.h"
#include "providers/json_answer.h"

namespace betrace::kms {
namespace {

constexpr std::size_t message_bytes_max = 4096;

enum class Kind {
  denied,
  stale_credentials,
  wrong_time,
  unusable_key,
  throttled,
  unavailable,
  bad_ciphertext,
  other_key,
  bad_request,
};

struct Row {
  std::string_view type;  // without "Exception" at the end
  Kind kind;
};

// KeyUnavailable is a passing state (HTTP 500, "you can retry the request"), unlike Disabled and
// KMSInvalidState. NotFound, InvalidArn, InvalidKeyUsage and UnsupportedOperation say that the
// configured master key cannot serve: like a disabled one they stay until somebody acts.
constexpr std::array table{
    Row{"AccessDenied", Kind::denied},
    Row{"AuthFailure", Kind::denied},
    Row{"NotAuthorized", Kind::denied},
    Row{"UnauthorizedOperation", Kind::denied},
    Row{"OptInRequired", Kind::denied},
    Row{"SignatureDoesNotMatch", Kind::wrong_time},
    Row{"InvalidSignature", Kind::wrong_time},
    Row{"RequestExpired", Kind::wrong_time},
    Row{"RequestTimeTooSkewed", Kind::wrong_time},
    Row{"RequestInTheFuture", Kind::wrong_time},
    Row{"IncompleteSignature", Kind::denied},
    Row{"MissingAuthenticationToken", Kind::denied},
    Row{"UnrecognizedClient", Kind::stale_credentials},
    Row{"InvalidClientTokenId", Kind::stale_credentials},
    Row{"ExpiredToken", Kind::stale_credentials},
    Row{"Disabled", Kind::unusable_key},
    Row{"KMSInvalidState", Kind::unusable_key},
    Row{"NotFound", Kind::unusable_key},
    Row{"InvalidArn", Kind::unusable_key},
    Row{"InvalidKeyUsage", Kind::unusable_key},
    Row{"UnsupportedOperation", Kind::unusable_key},
    Row{"KeyUnavailable", Kind::unavailable},
    Row{"DependencyTimeout", Kind::unavailable},
    Row{"KMSInternal", Kind::unavailable},
    Row{"Internal", Kind::unavailable},
    Row{"InternalFailure", Kind::unavailable},
    Row{"InternalError", Kind::unavailable},
    Row{"InternalServerError", Kind::unavailable},
    Row{"ServiceUnavailable", Kind::unavailable},
    Row{"RequestTimeout", Kind::unavailable},
    Row{"IDPCommunicationError", Kind::unavailable},
    Row{"Throttling", Kind::throttled},
    Row{"Throttled", Kind::throttled},
    Row{"RequestThrottled", Kind::throttled},
    Row{"TooManyRequests", Kind::throttled},
    Row{"LimitExceeded", Kind::throttled},
    Row{"RequestLimitExceeded", Kind::throttled},
    Row{"SlowDown", Kind::throttled},
    Row{"InvalidCiphertext", Kind::bad_ciphertext},
    Row{"IncorrectKey", Kind::other_key},
    Row{"Validation", Kind::bad_request},
    Row{"ValidationError", Kind::bad_request},
    Row{"SerializationException", Kind::bad_request},
};

std::string_view without_suffix(std::string_view type) {
  constexpr std::string_view suffix = "Exception";
  if (type.ends_with(suffix)) type.remove_suffix(suffix.size());
  return type;
}

Kind kind_of_status(int status) {
  if (status == 429) return Kind::throttled;
  if (status == 401 || status == 403) return Kind::denied;
  return Kind::unavailable;
}

Kind kind_of(std::string_view type, int status) {
  const auto stem = without_suffix(type);
  for (const Row& row : table) {
    if (without_suffix(row.type) == stem) return row.kind;
  }
  if (stem.starts_with("AccessDenied") || stem.starts_with("NotAuthorized")) return Kind::denied;
  if (stem.starts_with("ExpiredToken")) return Kind::stale_credentials;
  if (!stem.empty() && status == 400) return Kind::bad_request;
  return kind_of_status(status);
}

ErrorCode code_of(Kind kind) {
  switch (kind) {
    case Kind::denied:
    case Kind::stale_credentials:
    case Kind::wrong_time:
      return ErrorCode::kms_access_denied;
    case Kind::unusable_key:
      return ErrorCode::kms_key_disabled;
    case Kind::throttled:
    case Kind::unavailable:
      return ErrorCode::kms_unavailable;
    case Kind::bad_ciphertext:
      return ErrorCode::invalid_ciphertext;
    case Kind::other_key:
      return ErrorCode::wrapped_elsewhere;
    case Kind::bad_request:
      return ErrorCode::invalid_argument;
  }
  return ErrorCode::internal;
}

// "com.amazonaws.kms#DisabledException", "AccessDeniedException:http://…" → the name alone.
std::string bare_type(std::string_view type) {
  if (const auto hash = type.find('#'); hash != type.npos) type.remove_prefix(hash + 1);
  type = type.substr(0, type.find(':'));
  const auto word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_';
  };
  if (type.size() > 128 || !std::ranges::all_of(type, word)) return {};
  return std::string(type);
}

struct Said {
  std::string type, message;
};

Said read_error(const HttpAnswer& answer) {
  Said said;
  const std::string_view body = answer.body;
  if (const auto json = JsonAnswer::parse(body)) {
    said.type = bare_type(json->text("/__type").value_or(""));
    for (const char* name : {"/message", "/Message"}) {
      if (said.message.empty()) said.message = json->text(name).value_or("");
    }
  } else if (const auto message = xml_text(body, "Message")) {
    said.message = std::string_view(*message);
  }
  if (said.type.empty()) said.type = bare_type(answer.header("x-amzn-errortype"));
  if (said.type.empty()) said.type = bare_type(xml_text(body, "Code").value_or(WipedString()));
  said.message.resize(std::min(said.message.size(), message_bytes_max));
  return said;
}

// Empty unless this machine's clock is off by more than a minute.
std::string skew_remark(const HttpAnswer& answer, SystemTime now) {
  const auto theirs = parse_http_date(answer.header("date"));
  if (!theirs) return {};
  const auto ahead = std::chrono::round<std::chrono::seconds>(now - *theirs).count();
  if (ahead >= -60 && ahead <= 60) return {};
  return fmt::format(" (this machine's clock is {} s {} AWS's)", ahead < 0 ? -ahead : ahead,
                     ahead < 0 ? "behind" : "ahead of");
}

std::string message_of(Kind kind, const Said& said) {
  if (kind != Kind::bad_ciphertext) return said.message;
  // AWS says nothing here, so as not to tell an attacker which of the two it was.
  std::string message = fmt::format("{} or the ciphertext was altered", context_mismatch_message);
  if (!said.message.empty()) message += ": " + said.message;
  return message;
}

void append_entity(std::string_view name, WipedString& out) {
  constexpr std::array<std::pair<std::string_view, char>, 5> named{
      {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}}};
  for (const auto& [entity, character] : named) {
    if (name == entity) {
      out.push_back(character);
      return;
    }
  }
  int code = 0;
  const bool hex = name.starts_with("#x");
  if (name.starts_with('#')) {
    const auto digits = name.substr(hex ? 2 : 1);
    std::from_chars(digits.data(), digits.data() + digits.size(), code, hex ? 16 : 10);
  }
  out.push_back(code > 0 && code < 128 ? static_cast<char>(code) : '?');
}

}  // namespace

std::optional<WipedString> xml_text(std::string_view body, std::string_view element) {
  const auto begin = body.find(fmt::format("<{}>", element));
  if (begin == body.npos) return std::nullopt;
  auto text = body.substr(begin + element.size() + 2);
  const auto end = text.find(fmt::format("</{}>", element));
  if (end == text.npos) return std::nullopt;
  text = text.substr(0, end);
  WipedString out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto semicolon = text.front() == '&' ? text.find(';') : text.npos;
    if (semicolon == text.npos) {
      out.push_back(text.front());
      text.remove_prefix(1);
    } else {
      append_entity(text.substr(1, semicolon - 1), out);
      text.remove_prefix(semicolon + 1);
    }
  }
  return out;
}

Error classify_aws_error(const HttpAnswer& answer, std::string_view operation, SystemTime now) {
  Said said = read_error(answer);
  const Kind kind = kind_of(said.type, answer.status);
  Error error{.code = code_of(kind),
              .message = message_of(kind, said),
              .type = {},
              .retry_after = {},
              .throttled = kind == Kind::throttled};
  if (error.message.empty()) {
    // The body is not quoted: what a stranger in between answers may echo the request.
    error.message = said.type.empty() ? fmt::format(
                                            "{} was answered with HTTP {} and no AWS error: is the "
                                            "endpoint AWS's?",
                                            operation, answer.status)
                                      : fmt::format("{} was refused: {} (HTTP {})", operation,
                                                    said.type, answer.status);
  }
  if (kind == Kind::wrong_time) error.message += skew_remark(answer, now);
  if (error.code == ErrorCode::kms_unavailable) {
    error.retry_after = parse_retry_after(answer.header("retry-after"), now);
  }
  error.type = std::move(said.type);
  return error;
}

bool refuses_credentials(const Error& error) {
  return kind_of(error.type, 0) == Kind::stale_credentials;
}

}  // namespace betrace::kms
