// Where the AWS provider's credentials come from: an ordered list of sources, the first that has
// some wins. A further source is a class of two methods and one line in make_aws_credentials().
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

#include "providers/catalog.h"
#include "providers/credential_cache.h"

namespace betrace::kms {

struct AwsRegion;

struct AwsCredentials {
  std::string access_key_id;
  WipedString secret_access_key;
  WipedString session_token;             // empty for long-term keys
  std::optional<SystemTime> expires_at;  // absent: not known to expire
};

// Used by one thread at a time.
class CredentialSource {
 public:
  virtual ~CredentialSource() = default;
  // Where it looks, for the message when nobody has any, e.g. "environment (AWS_ACCESS_KEY_ID …)".
  virtual std::string description() const = 0;
  // Nothing when there is nothing here; an error when there is something that cannot be used.
  virtual Result<std::optional<AwsCredentials>> load(const CallContext& call) = 0;
  // Whether load() would look at something newer than last time.
  virtual bool has_changed() const { return false; }
};

// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN.
class EnvironmentCredentials final : public CredentialSource {
 public:
  explicit EnvironmentCredentials(EnvironmentVariables environment);
  std::string description() const override;
  Result<std::optional<AwsCredentials>> load(const CallContext& call) override;

 private:
  const EnvironmentVariables environment_;
};

using AwsCredentialCache = CredentialCache<AwsCredentials>;
// The first of `sources` that has some.
AwsCredentialCache::Origin first_of(std::vector<std::unique_ptr<CredentialSource>> sources);

// Environment, web identity, the shared files, container, instance metadata; of an instance whose
// profile is set, the profile alone. Roles are assumed in the first of `regions` that is up.
AwsCredentialCache make_aws_credentials(const ProviderEnvironment& environment,
                                        const std::vector<AwsRegion>& regions);

}  // namespace betrace::kms
