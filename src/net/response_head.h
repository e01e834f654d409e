// The head of an answer as bytes. Nothing an application puts into a header can end that header or
// begin another one. Thread-safe.
#pragma once

#include <cstddef>

#include "base/http.h"

namespace betrace::kms {

struct ResponseFraming {
  std::size_t body_bytes = 0;
  bool close = false;       // say so
  bool keep_alive = false;  // say so: an HTTP/1.0 client has asked for it
};

// Whether an answer of this status has a body and a length at all (RFC 9110, section 6.4.1).
constexpr bool may_have_body(int status) { return status >= 200 && status != 204 && status != 304; }

// Whether the application asks for the end of the connection.
bool asks_to_close(const Response& response);

// Appends status line, headers and the empty line.
void append_response_head(const Response& response, const ResponseFraming& framing,
                          WipedString& out);

}  // namespace betrace::kms
