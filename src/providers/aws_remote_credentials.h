// AWS credentials that a machine or a container is given: by a web identity (EKS service accounts),
// by the endpoint of ECS or EKS pod identity, by the instance's metadata service. Each used by one
// thread at a time, as every CredentialSource.
#pragma once

#include <string>
#include <string_view>

#include "providers/aws_assume_role.h"
#include "providers/aws_credentials.h"
#include "providers/json_answer.h"

namespace betrace::kms {

// Of a JSON document with AccessKeyId, SecretAccessKey, the session token under `token`, and
// Expiration, which may be absent. Nothing when it is none.
std::optional<AwsCredentials> aws_credentials_in(const JsonAnswer& answer, std::string_view token);

// AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN; the file is read at each load.
class WebIdentityCredentials final : public CredentialSource {
 public:
  // `environment.http` and `.clock` must outlive this.
  WebIdentityCredentials(const ProviderEnvironment& environment, std::vector<AwsRegion> regions);
  std::string description() const override;
  Result<std::optional<AwsCredentials>> load(const CallContext& call) override;

 private:
  const EnvironmentVariables environment_;
  StsEndpoint sts_;
};

// AWS_CONTAINER_CREDENTIALS_RELATIVE_URI (ECS), AWS_CONTAINER_CREDENTIALS_FULL_URI (EKS pod
// identity, Greengrass) with AWS_CONTAINER_AUTHORIZATION_TOKEN or …_TOKEN_FILE. Plain HTTP goes to
// this machine and to the addresses that AWS has for it, and nowhere else.
class ContainerCredentials final : public CredentialSource {
 public:
  explicit ContainerCredentials(const ProviderEnvironment& environment);
  std::string description() const override;
  Result<std::optional<AwsCredentials>> load(const CallContext& call) override;

 private:
  const EnvironmentVariables environment_;
  HttpClient& http_;
  const Clock& clock_;
};

// The instance's role by IMDSv2, a second for each of its three requests. One that does not answer
// means that this is no instance, or that a container is a hop too far away.
class InstanceCredentials final : public CredentialSource {
 public:
  explicit InstanceCredentials(const ProviderEnvironment& environment);
  std::string description() const override;
  Result<std::optional<AwsCredentials>> load(const CallContext& call) override;
  // Where the instance is. Errors: kms_access_denied when nobody says.
  Result<std::string> region(const CallContext& call);

 private:
  Result<HttpAnswer> ask(const CallContext& call, std::string_view method, std::string_view path,
                         Headers headers);
  // The headers of what is asked after it; nothing, and last_fault_, when there is no instance.
  std::optional<Headers> log_in(const CallContext& call);

  const EnvironmentVariables environment_;
  HttpClient& http_;
  const Clock& clock_;
  std::string endpoint_;
  std::string last_fault_;  // why there are none
  bool met_ = false;        // the service has answered before, or answers that it is busy
};

}  // namespace betrace::kms
