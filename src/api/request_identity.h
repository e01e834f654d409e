// By what a request is found again in logs and traces: its id and its W3C trace context.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "betrace/kms/call_context.h"

#include "base/http.h"

namespace betrace::kms {

// Short enough to need no allocation; unique in this process, unguessed across processes.
class RequestIds {
 public:
  RequestIds();
  std::string next();  // 15 hexadecimal digits; thread-safe

 private:
  std::uint64_t seed_ = 0;
  std::atomic<std::uint64_t> count_ = 0;
};

// Whether a caller's own X-Request-Id may stand in logs: at most 64 of [A-Za-z0-9._-].
bool is_sane_request_id(std::string_view text);

// The header `traceparent` (W3C Trace Context, section 3.2); all zero when it is not one.
TraceContext parse_traceparent(std::string_view text);
// With `tracestate`, which may come in several headers (section 3.3); without it where it is not
// one, or has more than 512 characters.
TraceContext read_trace(const Request& request);

}  // namespace betrace::kms
