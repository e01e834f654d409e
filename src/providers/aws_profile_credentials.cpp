#include "providers/aws_profile_credentials.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/try.h"
#include "providers/aws_credential_process.h"
#include "providers/aws_remote_credentials.h"
#include "providers/aws_sso.h"
#include "providers/file_secret.h"

namespace betrace::kms {
namespace {

template <class... Arguments>
std::unexpected<Error> refuse(std::string_view profile, fmt::format_string<Arguments...> format,
                              Arguments&&... arguments) {
  return fail(ErrorCode::kms_access_denied,
              fmt::format("AWS profile '{}': {}", profile,
                          fmt::format(format, std::forward<Arguments>(arguments)...)));
}

// Nothing when the profile holds no keys of its own.
Result<std::optional<AwsCredentials>> static_keys(const std::string& name,
                                                  const AwsProfile& profile) {
  AwsCredentials found;
  found.access_key_id = profile_value(profile, "aws_access_key_id");
  found.secret_access_key = profile_value(profile, "aws_secret_access_key");
  found.session_token = profile_value(profile, "aws_session_token");
  if (found.access_key_id.empty() && found.secret_access_key.empty()) return std::nullopt;
  if (found.access_key_id.empty()) {
    return refuse(name, "aws_secret_access_key is there but aws_access_key_id is not");
  }
  if (found.secret_access_key.empty()) {
    return refuse(name, "aws_access_key_id is there but aws_secret_access_key is not");
  }
  return found;
}

}  // namespace

// One load: the files as they are, and the roles on the way to the first keys.
struct ProfileCredentials::Walk {
  const CallContext& call;
  const AwsProfiles& profiles;
  std::vector<std::string> visited;
};

ProfileCredentials::ProfileCredentials(const ProviderEnvironment& environment,
                                       std::vector<AwsRegion> regions)
    : environment_(environment.environment),
      sts_{environment.http, environment.clock, std::move(regions)},
      names_(find_aws_files(environment)) {}

std::string ProfileCredentials::description() const {
  if (names_.credentials.empty() && names_.config.empty()) {
    return "shared files (none: HOME, AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE are not set)";
  }
  return fmt::format("profile '{}' of {} and {}", names_.profile, names_.credentials,
                     names_.config);
}

bool ProfileCredentials::has_changed() const { return stamp_of(names_) != stamp_; }

Result<std::optional<AwsCredentials>> ProfileCredentials::load(const CallContext& call) {
  stamp_ = stamp_of(names_);  // before reading: a change in between is then seen next time
  const AwsProfiles profiles = TRY(read_aws_profiles(names_));
  const auto found = profiles.find(names_.profile);
  if (found == profiles.end()) {
    if (names_.named_by.empty()) return std::nullopt;
    return refuse(names_.profile, "it is named by {}, but neither {} nor {} has it",
                  names_.named_by, names_.credentials, names_.config);
  }
  const auto& [name, profile] = *found;
  if (!profile_value(profile, "role_arn").empty()) {
    Walk walk{call, profiles, {}};
    return TRY(assume(walk, name, profile));
  }
  return own_keys(call, profiles, name, profile);
}

// Of a profile without a role: its keys, what its program prints, or what SSO gives.
Result<std::optional<AwsCredentials>> ProfileCredentials::own_keys(const CallContext& call,
                                                                   const AwsProfiles& profiles,
                                                                   const std::string& name,
                                                                   const AwsProfile& profile) {
  auto keys = TRY(static_keys(name, profile));
  if (keys) return keys;
  if (const auto command = profile_value(profile, "credential_process"); !command.empty()) {
    auto printed = run_credential_process(command, call, sts_.clock);
    if (!printed) {
      printed.error().message = fmt::format("AWS profile '{}': {}", name, printed.error().message);
    }
    return printed;
  }
  const bool sso = !profile_value(profile, "sso_session").empty() ||
                   !profile_value(profile, "sso_start_url").empty();
  if (sso) return TRY(of_sso(call, profiles, name, profile));
  // Passing over a profile that says where its credentials are would use somebody else's.
  if (!profile_value(profile, "login_session").empty()) {
    return refuse(name, "login_session is not read by this release");
  }
  return keys;
}

Result<AwsCredentials> ProfileCredentials::of_sso(const CallContext& call,
                                                  const AwsProfiles& profiles,
                                                  const std::string& name,
                                                  const AwsProfile& profile) const {
  SsoRequest request{.profile = name,
                     .session = std::string(profile_value(profile, "sso_session")),
                     .start_url = std::string(profile_value(profile, "sso_start_url")),
                     .region = std::string(profile_value(profile, "sso_region")),
                     .account = std::string(profile_value(profile, "sso_account_id")),
                     .role = std::string(profile_value(profile, "sso_role_name")),
                     .cache_folder = names_.sso_cache};
  if (!request.session.empty()) {
    const auto session = profiles.find("sso-session " + request.session);
    if (session == profiles.end()) {
      return refuse(name, "there is no [sso-session {}]", request.session);
    }
    request.region = profile_value(session->second, "sso_region");
  }
  if (request.region.empty() || request.account.empty() || request.role.empty()) {
    return refuse(name, "SSO needs sso_region, sso_account_id and sso_role_name");
  }
  return sso_credentials(request, sts_.http, sts_.clock, call);
}

Result<AwsCredentials> ProfileCredentials::assume(Walk& walk, const std::string& name,
                                                  const AwsProfile& profile) {
  if (std::ranges::find(walk.visited, name) != walk.visited.end()) {
    return refuse(name, "its source profiles form a circle: {} -> {}",
                  fmt::join(walk.visited, " -> "), name);
  }
  walk.visited.push_back(name);
  const RoleRequest request = TRY(role_request(name, profile));
  if (const auto file = profile_value(profile, "web_identity_token_file"); !file.empty()) {
    const auto token = TRY(FileSecret("web_identity_token_file", std::string(file)).read());
    return assume_role_with_web_identity(sts_, walk.call, request, token);
  }
  const AwsCredentials by = TRY(credentials_behind(walk, name, profile));
  return assume_role(sts_, walk.call, request, by);
}

Result<AwsCredentials> ProfileCredentials::credentials_behind(Walk& walk, const std::string& name,
                                                              const AwsProfile& profile) {
  const std::string source_name(profile_value(profile, "source_profile"));
  const std::string_view origin = profile_value(profile, "credential_source");
  if (!source_name.empty() && !origin.empty()) {
    return refuse(name, "it has both source_profile and credential_source; accepted is one");
  }
  if (!origin.empty()) return credentials_of_source(walk.call, name, origin);
  if (source_name.empty()) {
    return refuse(name,
                  "role_arn needs source_profile, credential_source or web_identity_token_file");
  }
  const auto source = walk.profiles.find(source_name);
  if (source == walk.profiles.end()) {
    return refuse(name, "its source_profile '{}' does not exist", source_name);
  }
  // Keys of the source's own come before its role, so a profile may be its own source.
  auto keys = TRY(static_keys(source_name, source->second));
  if (keys) return *std::move(keys);
  if (!profile_value(source->second, "role_arn").empty()) {
    return assume(walk, source_name, source->second);
  }
  keys = TRY(own_keys(walk.call, walk.profiles, source_name, source->second));
  if (keys) return *std::move(keys);
  return refuse(name, "its source_profile '{}' has no credentials", source_name);
}

Result<AwsCredentials> ProfileCredentials::credentials_of_source(const CallContext& call,
                                                                 const std::string& name,
                                                                 std::string_view origin) {
  const ProviderEnvironment environment{.settings = {},
                                        .http = sts_.http,
                                        .clock = sts_.clock,
                                        .environment = environment_,
                                        .data_dir = {}};
  std::unique_ptr<CredentialSource> source;
  if (origin == "Environment") source = std::make_unique<EnvironmentCredentials>(environment_);
  if (origin == "EcsContainer") source = std::make_unique<ContainerCredentials>(environment);
  if (origin == "Ec2InstanceMetadata") source = std::make_unique<InstanceCredentials>(environment);
  if (!source) {
    return refuse(name,
                  "credential_source='{}': accepted are Environment, EcsContainer and "
                  "Ec2InstanceMetadata",
                  origin);
  }
  auto keys = TRY(source->load(call));
  if (keys) return *std::move(keys);
  return refuse(name, "credential_source={}, but it has none: {}", origin, source->description());
}

Result<RoleRequest> ProfileCredentials::role_request(const std::string& name,
                                                     const AwsProfile& profile) const {
  if (!profile_value(profile, "mfa_serial").empty()) {
    return refuse(name, "mfa_serial asks for a code that nobody is there to type");
  }
  RoleRequest request;
  request.role_arn = profile_value(profile, "role_arn");
  request.external_id = profile_value(profile, "external_id");
  request.session_name = profile_value(profile, "role_session_name");
  if (request.session_name.empty() && environment_) {
    request.session_name = environment_("AWS_ROLE_SESSION_NAME").value_or("");
  }
  if (request.session_name.empty()) request.session_name = "betrace-kms";
  if (const auto text = profile_value(profile, "duration_seconds"); !text.empty()) {
    int seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc() || end != text.data() + text.size() || seconds < 900 ||
        seconds > 43200) {
      return refuse(name, "duration_seconds='{}': accepted are 900 to 43200", text);
    }
    request.duration = std::chrono::seconds(seconds);
  }
  return request;
}

}  // namespace betrace::kms
