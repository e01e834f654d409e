// The subject token of a workload in AWS: a signed GetCallerIdentity, which Google sends to AWS's
// STS to learn who it is (google.aip.dev/auth/4117). Used by one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "betrace/kms/clock.h"

#include "providers/aws_credentials.h"
#include "providers/catalog.h"

namespace betrace::kms {

class GcpAwsSubject {
 public:
  // As Google's libraries look for them: the environment, a container's, the instance's.
  explicit GcpAwsSubject(const ProviderEnvironment& environment);

  // `url`: regional_cred_verification_url, with {region} in it; `audience` of the external account.
  // Errors: kms_access_denied when there is no region, no credentials, or the address is none of
  // AWS's; those of the sources.
  Result<WipedString> token(const CallContext& call, const std::string& url,
                            const std::string& audience);

 private:
  Result<std::string> region(const CallContext& call);
  Result<AwsCredentials> credentials(const CallContext& call);

  const EnvironmentVariables environment_;
  const Clock& clock_;
  std::vector<std::unique_ptr<CredentialSource>> sources_;
  class InstanceCredentials* instance_;  // of the sources
};

}  // namespace betrace::kms
