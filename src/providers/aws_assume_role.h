// STS AssumeRole: one set of credentials exchanged for those of a role. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"

#include "providers/aws_credentials.h"
#include "providers/aws_regions.h"

namespace betrace::kms {

// STS, in whichever region is up; http and clock must outlive it.
struct StsEndpoint {
  StsEndpoint(HttpClient& client, const Clock& time, std::vector<AwsRegion> in)
      : http(client), clock(time), regions("AWS STS", std::move(in), time) {}

  HttpClient& http;
  const Clock& clock;
  AwsRegions regions;
};

struct RoleRequest {
  std::string role_arn;
  std::string session_name;
  std::string external_id;              // empty: none
  std::chrono::seconds duration{3600};  // AWS accepts 900 s to 12 h
};

// Errors: kms_access_denied, kms_unavailable, kms_timeout, as AWS or the network gave them.
Result<AwsCredentials> assume_role(StsEndpoint& sts, const CallContext& call,
                                   const RoleRequest& request, const AwsCredentials& by);
// By the token of an identity provider that the role trusts (EKS service accounts, OIDC); such a
// request is not signed. The same errors.
Result<AwsCredentials> assume_role_with_web_identity(StsEndpoint& sts, const CallContext& call,
                                                     const RoleRequest& request,
                                                     const WipedString& token);

}  // namespace betrace::kms
