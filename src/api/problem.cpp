#include "api/problem.h"

#include <string>
#include <utility>

namespace betrace::kms {

int http_status(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::malformed_json:
    case ErrorCode::reserved_payload:
    case ErrorCode::invalid_ciphertext:
      return 400;
    case ErrorCode::unauthenticated:
      return 401;
    case ErrorCode::permission_denied:
      return 403;
    case ErrorCode::not_found:
    case ErrorCode::tenant_not_found:
    case ErrorCode::key_not_found:
      return 404;
    case ErrorCode::method_not_allowed:
      return 405;
    case ErrorCode::request_timeout:
      return 408;
    case ErrorCode::conflict:
    case ErrorCode::rotation_running:
    case ErrorCode::already_exists:
      return 409;
    case ErrorCode::destroyed:
      return 410;
    case ErrorCode::payload_too_large:
      return 413;
    case ErrorCode::rate_limited:
      return 429;
    case ErrorCode::header_too_large:
      return 431;
    case ErrorCode::internal:
    case ErrorCode::corrupt:
      return 500;
    case ErrorCode::not_implemented:
      return 501;
    case ErrorCode::kms_access_denied:
    case ErrorCode::kms_key_disabled:
    case ErrorCode::kms_unavailable:
    case ErrorCode::kms_timeout:
    case ErrorCode::circuit_open:
    case ErrorCode::wrapped_elsewhere:
    case ErrorCode::overloaded:
    case ErrorCode::store_unavailable:
      return 503;
  }
  std::unreachable();
}

std::string_view status_title(int status) {
  switch (status) {
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 413:
      return "Content Too Large";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    default:
      return "Internal Server Error";
  }
}

void write_problem(const Error& error, std::string_view request_id, JsonWriter& out) {
  const int status = http_status(error.code);
  out.begin_object();
  out.key("type").string("about:blank");
  out.key("title").string(status_title(status));
  out.key("status").integer(status);
  out.key("code").string(to_string(error.code));
  out.key("detail").string(error.message);
  if (!request_id.empty()) out.key("requestId").string(request_id);
  out.end_object();
}

Response problem_response(const Error& error, std::string_view request_id) {
  JsonWriter body;
  write_problem(error, request_id, body);
  Response response;
  response.status = http_status(error.code);
  response.content_type = "application/problem+json";
  response.body = std::move(body).take();
  if (response.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (error.retry_after) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(*error.retry_after).count();
    response.headers.emplace_back("Retry-After", std::to_string(std::max<long>(seconds, 1)));
  } else if (error.code == ErrorCode::overloaded) {
    response.headers.emplace_back("Retry-After", "1");
  }
  return response;
}

}  // namespace betrace::kms
