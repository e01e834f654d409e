#include "providers/aws_credentials.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/try.h"
#include "providers/aws_profile_credentials.h"
#include "providers/aws_remote_credentials.h"
#include "telemetry/log.h"

namespace betrace::kms {

EnvironmentCredentials::EnvironmentCredentials(EnvironmentVariables environment)
    : environment_(std::move(environment)) {}

std::string EnvironmentCredentials::description() const {
  return "environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)";
}

Result<std::optional<AwsCredentials>> EnvironmentCredentials::load(const CallContext&) {
  const auto variable = [&](const char* name) {
    return environment_ ? environment_(name).value_or("") : std::string();
  };
  AwsCredentials found;
  found.access_key_id = variable("AWS_ACCESS_KEY_ID");
  std::string secret = variable("AWS_SECRET_ACCESS_KEY");
  std::string token = variable("AWS_SESSION_TOKEN");
  found.secret_access_key = std::string_view(secret);
  found.session_token = std::string_view(token);
  wipe(secret.data(), secret.size());
  wipe(token.data(), token.size());
  if (found.access_key_id.empty() && found.secret_access_key.empty()) return std::nullopt;
  if (found.access_key_id.empty() || found.secret_access_key.empty()) {
    return fail(
        ErrorCode::kms_access_denied,
        fmt::format("AWS credentials in the environment are incomplete: {} is not set",
                    found.access_key_id.empty() ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY"));
  }
  return found;
}

AwsCredentialCache::Origin first_of(std::vector<std::unique_ptr<CredentialSource>> sources) {
  // Shared: what std::function holds is copied.
  const auto all =
      std::make_shared<const std::vector<std::unique_ptr<CredentialSource>>>(std::move(sources));
  const auto load = [all](const CallContext& call,
                          const AwsCredentialCache::Pointer&) -> Result<AwsCredentials> {
    std::string looked_in;
    for (const auto& source : *all) {
      auto found = TRY(source->load(call));
      if (found) {
        logger(log_category::aws_sdk).debug("AWS credentials from {}", source->description());
        return *std::move(found);
      }
      looked_in += (looked_in.empty() ? "" : ", ") + source->description();
    }
    return fail(ErrorCode::kms_access_denied,
                fmt::format("no AWS credentials found; looked in: {}", looked_in));
  };
  const auto has_changed = [all] {
    return std::ranges::any_of(*all, [](const auto& source) { return source->has_changed(); });
  };
  return {.what = "AWS credentials", .load = load, .has_changed = has_changed};
}

AwsCredentialCache make_aws_credentials(const ProviderEnvironment& environment,
                                        const std::vector<AwsRegion>& regions) {
  std::vector<std::unique_ptr<CredentialSource>> sources;
  // As the AWS SDKs have it; of an instance whose profile is set, that alone.
  const bool profile_alone = environment.settings(aws_profile_setting).has_value();
  if (!profile_alone) {
    sources.push_back(std::make_unique<EnvironmentCredentials>(environment.environment));
    sources.push_back(std::make_unique<WebIdentityCredentials>(environment, regions));
  }
  sources.push_back(std::make_unique<ProfileCredentials>(environment, regions));
  if (!profile_alone) {
    sources.push_back(std::make_unique<ContainerCredentials>(environment));
    sources.push_back(std::make_unique<InstanceCredentials>(environment));
  }
  return AwsCredentialCache(first_of(std::move(sources)), environment.clock);
}

}  // namespace betrace::kms
