// One request to a provider's server and its answer: time budget, trace, two debug lines without
// bodies. Thread-safe.
#pragma once

#include <string>

#include "betrace/kms/call_context.h"
#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"

#include "base/http.h"

namespace betrace::kms {

struct Asking {
  std::string purpose;               // for people: "generate data key"
  std::string what;                  // for the log: "kms GenerateDataKey"
  std::string_view log;              // category
  std::string_view request_id = {};  // header of the answer that identifies it, if it has one
};

// Any complete answer, whatever its status; the call's timeout is what is left until the deadline
// of `call`, or 5 seconds. Errors: kms_timeout when nothing is left; what the client says. Their
// messages begin "Failed to PURPOSE: ".
Result<HttpAnswer> exchange(HttpClient& http, const Clock& clock, const CallContext& call,
                            HttpCall request, const Asking& asking);

}  // namespace betrace::kms
