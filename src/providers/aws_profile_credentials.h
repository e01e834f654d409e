// Credentials from the AWS CLI's shared files: long-term keys, session tokens, what a
// credential_process prints, what SSO gives for a cached token, and roles assumed through STS from
// a source profile, which may itself be a role, by a web identity, or by what a credential_source
// has. Reads the files anew when they change. Used by one thread at a time, as every
// CredentialSource.
#pragma once

#include <string>
#include <vector>

#include "providers/aws_assume_role.h"
#include "providers/aws_credentials.h"
#include "providers/aws_profile.h"

namespace betrace::kms {

class ProfileCredentials final : public CredentialSource {
 public:
  // `environment.http` and `.clock` must outlive this.
  ProfileCredentials(const ProviderEnvironment& environment, std::vector<AwsRegion> regions);
  std::string description() const override;
  Result<std::optional<AwsCredentials>> load(const CallContext& call) override;
  bool has_changed() const override;

 private:
  struct Walk;
  Result<AwsCredentials> assume(Walk& walk, const std::string& name, const AwsProfile& profile);
  Result<AwsCredentials> credentials_behind(Walk& walk, const std::string& name,
                                            const AwsProfile& profile);
  Result<std::optional<AwsCredentials>> own_keys(const CallContext& call,
                                                 const AwsProfiles& profiles,
                                                 const std::string& name,
                                                 const AwsProfile& profile);
  Result<AwsCredentials> of_sso(const CallContext& call, const AwsProfiles& profiles,
                                const std::string& name, const AwsProfile& profile) const;
  Result<AwsCredentials> credentials_of_source(const CallContext& call, const std::string& name,
                                               std::string_view origin);
  Result<RoleRequest> role_request(const std::string& name, const AwsProfile& profile) const;

  const EnvironmentVariables environment_;
  StsEndpoint sts_;
  const AwsFileNames names_;
  AwsFileStamp stamp_;
};

}  // namespace betrace::kms
