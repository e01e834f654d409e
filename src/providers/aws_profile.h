// The AWS CLI's shared files, ~/.aws/credentials and ~/.aws/config, read as the CLI reads them:
// `#` and `;` comments, [profile NAME] in one and [NAME] in the other, indented sub-keys, values of
// the credentials file before those of the configuration file. Thread-safe: plain values and
// functions; values are wiped when they go, because some are secrets.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

#include "providers/catalog.h"

namespace betrace::kms {

// Names the profile of one instance, as --profile does for the AWS CLI: an instance that has it
// leaves the credentials of the environment to others.
inline constexpr std::string_view aws_profile_setting = "aws.kms.profile";

// Keys in lower case; a sub-key is "s3.max_concurrent_requests".
using AwsProfile = std::map<std::string, WipedString, std::less<>>;
// By their names; a section [sso-session NAME] is "sso-session NAME".
using AwsProfiles = std::map<std::string, AwsProfile, std::less<>>;

enum class AwsFileKind : std::uint8_t { credentials, config };

// Adds what `text` says to `into`, replacing what is there. `file` is for the message.
// Errors: kms_access_denied, names file and line and never quotes it.
Status parse_aws_file(std::string_view text, AwsFileKind kind, std::string_view file,
                      AwsProfiles& into);

struct AwsFileNames {
  std::string credentials, config;  // empty: none, because there is no home directory
  std::string sso_cache;            // folder, with the same exception
  // The setting aws.kms.profile, AWS_PROFILE, AWS_DEFAULT_PROFILE, else "default".
  std::string profile;
  std::string named_by;  // which of them; empty: none
};
AwsFileNames find_aws_files(const ProviderEnvironment& environment);

// What stat(2) says of both files: differs once either has been written, made or removed.
struct AwsFileStamp {
  std::vector<std::int64_t> fields;
  friend bool operator==(const AwsFileStamp&, const AwsFileStamp&) = default;
};
AwsFileStamp stamp_of(const AwsFileNames& names);

// Both files; one that does not exist adds nothing. Errors: kms_access_denied.
Result<AwsProfiles> read_aws_profiles(const AwsFileNames& names);

// Empty when absent. The view points into the profile.
std::string_view profile_value(const AwsProfile& profile, std::string_view key);

}  // namespace betrace::kms
