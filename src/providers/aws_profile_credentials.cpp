#include "providers/aws_profile_credentials.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/try.h"

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

// Passing over a profile that says where its credentials are would use somebody else's.
Status refuse_unread_origins(const std::string& name, const AwsProfile& profile) {
  constexpr std::array<std::string_view, 5> unread{"credential_process", "web_identity_token_file",
                                                   "sso_session", "sso_start_url", "login_session"};
  for (const auto key : unread) {
    if (profile_value(profile, key).empty()) continue;
    return refuse(name,
                  "{} is not read by this release; accepted are aws_access_key_id with "
                  "aws_secret_access_key, and role_arn with source_profile or "
                  "credential_source=Environment",
                  key);
  }
  return {};
}

}  // namespace

// One load: the files as they are, and the roles on the way to the first keys.
struct ProfileCredentials::Walk {
  const CallContext& call;
  const AwsProfiles& profiles;
  std::vector<std::string> visited;
};

ProfileCredentials::ProfileCredentials(const ProviderEnvironment& environment,
                                       const std::string& region, const std::string& sts_url)
    : environment_(environment.environment),
      sts_{environment.http, environment.clock, region, sts_url},
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
  if (!profile_value(profile, "role_arn").empty() &&
      profile_value(profile, "web_identity_token_file").empty()) {
    Walk walk{call, profiles, {}};
    return TRY(assume(walk, name, profile));
  }
  auto keys = TRY(static_keys(name, profile));
  if (!keys) TRY(refuse_unread_origins(name, profile));
  return keys;
}

Result<AwsCredentials> ProfileCredentials::assume(Walk& walk, const std::string& name,
                                                  const AwsProfile& profile) {
  if (std::ranges::find(walk.visited, name) != walk.visited.end()) {
    return refuse(name, "its source profiles form a circle: {} -> {}",
                  fmt::join(walk.visited, " -> "), name);
  }
  walk.visited.push_back(name);
  const RoleRequest request = TRY(role_request(name, profile));
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
  if (origin == "Environment") {
    auto keys = TRY(EnvironmentCredentials(environment_).load(walk.call));
    if (!keys)
      return refuse(name, "credential_source=Environment, but AWS_ACCESS_KEY_ID is not set");
    return *std::move(keys);
  }
  if (!origin.empty()) {
    return refuse(name, "credential_source='{}' is not read by this release; accepted: Environment",
                  origin);
  }
  if (source_name.empty()) {
    return refuse(name, "role_arn needs source_profile or credential_source=Environment");
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
  TRY(refuse_unread_origins(source_name, source->second));
  return refuse(name, "its source_profile '{}' has no credentials", source_name);
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
