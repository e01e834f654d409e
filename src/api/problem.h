// Errors as RFC 9457 problem details: {"type","title","status","code","detail","requestId"}.
// `code` is what programs branch on; `detail` is for people and carries a provider's own words.
#pragma once

#include <string_view>

#include "betrace/kms/error.h"

#include "api/json_writer.h"
#include "base/http.h"

namespace betrace::kms {

int http_status(ErrorCode code);
std::string_view status_title(int status);

// As one object; a request id that is empty is left out, as in the items of a batch.
void write_problem(const Error& error, std::string_view request_id, JsonWriter& out);

// With Retry-After where a time is known and WWW-Authenticate on 401.
Response problem_response(const Error& error, std::string_view request_id);

}  // namespace betrace::kms
