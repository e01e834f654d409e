// AWS Signature Version 4 of a request that somebody else is going to send: Google proves by one
// who an AWS workload is. What this service sends to AWS itself is signed by the HTTP client.
// docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
#pragma once

#include <string_view>

#include "base/http.h"
#include "providers/aws_credentials.h"

namespace betrace::kms {

struct SignableRequest {
  std::string_view method;
  std::string_view path = "/";  // as it is sent: not encoded here
  std::string_view query = {};  // its fields in order
  Headers headers;              // names in lower case; `host` is among them
  std::string_view body = {};
};

// The request's headers and `x-amz-date`, `x-amz-security-token` where there is one, and
// `authorization`, in order. All but the last are signed. Pure.
Headers sign_for_aws(const SignableRequest& request, const AwsCredentials& credentials,
                     std::string_view region, std::string_view service, SystemTime at);

}  // namespace betrace::kms
