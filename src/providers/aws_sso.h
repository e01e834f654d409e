// Credentials of IAM Identity Center, by the token that `aws sso login` leaves in a cache file
// (docs.aws.amazon.com/sdkref/latest/guide/feature-sso-credentials.html). A token that has ended is
// not renewed here: a person logs in. Thread-safe.
#pragma once

#include <string>

#include "betrace/kms/call_context.h"
#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"

#include "base/http.h"
#include "providers/aws_credentials.h"

namespace betrace::kms {

struct SsoRequest {
  std::string profile;  // for messages
  std::string session;  // of an [sso-session NAME]; empty: the start URL names the cache
  std::string start_url, region;
  std::string account, role;
  std::string cache_folder;  // ~/.aws/sso/cache
};

// Where `aws sso login` keeps the token: SHA-1 of the session's name, else of the start URL.
std::string sso_cache_file(const SsoRequest& request);

// Errors: kms_access_denied says which login to do; kms_unavailable, kms_timeout.
Result<AwsCredentials> sso_credentials(const SsoRequest& request, HttpClient& http,
                                       const Clock& clock, const CallContext& call);

}  // namespace betrace::kms
