// One signed request to an AWS service and its answer: time budget, signature, a debug line
// without bodies. Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "betrace/kms/call_context.h"
#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"

#include "base/http.h"
#include "providers/aws_credentials.h"

namespace betrace::kms {

struct AwsRequest {
  std::string_view service;    // "kms"
  std::string_view operation;  // "GenerateDataKey"
  std::string purpose;         // for people: "generate data key"
  std::string_view region;
  std::string url;
  Headers headers;
  WipedString body;
};

// Answers with status 200 only. Errors: as classify_aws_error(); kms_timeout when nothing is left
// until the deadline of `call`; what the client says, e.g. "Failed to generate data key: …".
Result<HttpAnswer> send_to_aws(HttpClient& http, const Clock& clock, const CallContext& call,
                               const AwsRequest& request, const AwsCredentials& credentials);

}  // namespace betrace::kms
