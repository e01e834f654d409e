#include "base/http.h"

#include <algorithm>

#include "base/encoding.h"

namespace betrace::kms {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

}  // namespace

std::string_view HttpAnswer::header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_case_name) return value;
  }
  return {};
}

std::string_view Request::header(std::string_view name) const {
  for (const auto& [header_name, value] : headers) {
    if (same_name(header_name, name)) return value;
  }
  return {};
}

std::string traceparent(const TraceContext& trace) {
  return "00-" + hex_encode(trace.trace_id) + "-" + hex_encode(trace.span_id) +
         (trace.sampled ? "-01" : "-00");
}

Reply::~Reply() {
  if (!connection_) return;
  Response response;
  response.status = 500;
  response.content_type = "application/problem+json";
  response.body = R"({"type":"about:blank","title":"Internal Server Error","status":500,)"
                  R"("code":"internal","detail":"the request was dropped without an answer"})";
  connection_->send(std::move(response));
}

}  // namespace betrace::kms
