#include "providers/aws_profile.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "provider_world.h"
#include "temporary_folder.h"

namespace betrace::kms {
namespace {

AwsProfiles parse(std::string_view text, AwsFileKind kind = AwsFileKind::config) {
  AwsProfiles profiles;
  const auto status = parse_aws_file(text, kind, "FILE", profiles);
  EXPECT_TRUE(status) << status.error().message;
  return profiles;
}

std::string value(const AwsProfiles& profiles, std::string_view profile, std::string_view key) {
  const auto found = profiles.find(profile);
  return found == profiles.end() ? "(no profile)" : std::string(profile_value(found->second, key));
}

TEST(AwsFiles, AreReadAsTheCommandLineToolWritesThem) {
  const auto profiles = parse(
      "# written by aws configure\n"
      "[default]\n"
      "region = eu-west-1\n"
      "output=json\n"
      "s3 =\n"
      "    max_concurrent_requests = 20\n"
      "    region = nested\n"
      "cli_pager =\n"
      "\n"
      "; another\n"
      "[profile prod]\n"
      "role_arn = arn:aws:iam::123456789012:role/betrace\n"
      "source_profile=default\n"
      "\n"
      "[profile \"two words\"]\n"
      "Region = us-west-2   # where we live\n"
      "[sso-session corp]\n"
      "sso_region = us-east-1\n"
      "[unprefixed]\n"
      "region = ignored\n");
  EXPECT_EQ(value(profiles, "default", "region"), "eu-west-1");
  EXPECT_EQ(value(profiles, "default", "output"), "json");
  EXPECT_EQ(value(profiles, "default", "s3.max_concurrent_requests"), "20");
  EXPECT_EQ(value(profiles, "default", "s3.region"), "nested");
  EXPECT_EQ(value(profiles, "default", "cli_pager"), "");
  EXPECT_EQ(value(profiles, "prod", "role_arn"), "arn:aws:iam::123456789012:role/betrace");
  EXPECT_EQ(value(profiles, "prod", "source_profile"), "default");
  EXPECT_EQ(value(profiles, "two words", "region"), "us-west-2");
  EXPECT_EQ(value(profiles, "sso-session corp", "sso_region"), "us-east-1");
  EXPECT_EQ(profiles.size(), 4u);
}

TEST(AwsFiles, TheCredentialsFileNamesProfilesWithoutAPrefix) {
  const auto profiles = parse(
      "[default]\naws_access_key_id=AKIA1\naws_secret_access_key=a+b/c=d#e;f\n"
      "[prod]\naws_access_key_id = AKIA2\n",
      AwsFileKind::credentials);
  EXPECT_EQ(value(profiles, "default", "aws_secret_access_key"), "a+b/c=d#e;f");
  EXPECT_EQ(value(profiles, "prod", "aws_access_key_id"), "AKIA2");
}

TEST(AwsFiles, WindowsLineEndsByteOrderMarkAndMissingLastLineEndDoNotMatter) {
  const auto profiles = parse("\xEF\xBB\xBF[default]\r\nregion = eu-west-1\r\nrole_arn : x:y");
  EXPECT_EQ(value(profiles, "default", "region"), "eu-west-1");
  EXPECT_EQ(value(profiles, "default", "role_arn"), "x:y");
}

TEST(AwsFiles, ASectionThatComesTwiceIsOneProfileAndTheLastValueCounts) {
  const auto profiles = parse("[profile a]\nx=1\ny=1\n[profile b]\n[profile a]\nx=2\n");
  EXPECT_EQ(value(profiles, "a", "x"), "2");
  EXPECT_EQ(value(profiles, "a", "y"), "1");
}

TEST(AwsFiles, ALineThatIsNoneIsNamedByNumberAndNotQuoted) {
  const std::vector<std::pair<std::string, std::string>> bad{
      {"secret = before\n", "line 1: it comes before the first [section]"},
      {"[default]\n\nsecret-without-name\n", "line 3: it is not of the form name = value"},
      {"[default\n", "line 1: it opens a [section] without ']'"},
      {"[default]\n= secret\n", "line 2: it is not of the form name = value"},
  };
  for (const auto& [text, reason] : bad) {
    AwsProfiles profiles;
    const auto status = parse_aws_file(text, AwsFileKind::credentials, "FILE", profiles);
    ASSERT_FALSE(status) << text;
    EXPECT_EQ(status.error().code, ErrorCode::kms_access_denied);
    EXPECT_EQ(status.error().message, "AWS file FILE, " + reason);
  }
}

TEST(AwsFiles, AreFoundWhereTheVariablesOrTheHomeDirectorySay) {
  ProviderWorld world;
  world.variables = {{"HOME", "/home/u"}};
  auto names = find_aws_files(world.environment());
  EXPECT_EQ(names.credentials, "/home/u/.aws/credentials");
  EXPECT_EQ(names.config, "/home/u/.aws/config");
  EXPECT_EQ(names.profile, "default");
  EXPECT_EQ(names.named_by, "");

  world.variables = {{"HOME", "/home/u"},
                     {"AWS_SHARED_CREDENTIALS_FILE", "~/c"},
                     {"AWS_CONFIG_FILE", "/etc/aws"},
                     {"AWS_DEFAULT_PROFILE", "old"},
                     {"AWS_PROFILE", "prod"}};
  names = find_aws_files(world.environment());
  EXPECT_EQ(names.credentials, "/home/u/c");
  EXPECT_EQ(names.config, "/etc/aws");
  EXPECT_EQ(names.profile, "prod");
  EXPECT_EQ(names.named_by, "AWS_PROFILE");

  world.settings["aws.kms.profile"] = "kms";
  names = find_aws_files(world.environment());
  EXPECT_EQ(names.profile, "kms");
  EXPECT_EQ(names.named_by, "aws.kms.profile");
  world.settings.clear();

  world.variables = {};
  EXPECT_EQ(find_aws_files(world.environment()).credentials, "");
}

TEST(AwsFiles, TheCredentialsFileComesBeforeTheConfigurationFile) {
  const TemporaryFolder folder;
  const AwsFileNames names{
      .credentials = folder.write("credentials", "[p]\naws_access_key_id=from-credentials\n"),
      .config = folder.write("config", "[profile p]\naws_access_key_id=from-config\nregion=r\n")};
  const auto profiles = read_aws_profiles(names);
  ASSERT_TRUE(profiles);
  EXPECT_EQ(value(*profiles, "p", "aws_access_key_id"), "from-credentials");
  EXPECT_EQ(value(*profiles, "p", "region"), "r");
}

TEST(AwsFiles, AFileThatDoesNotExistAddsNothingAndOneThatCannotBeReadIsNamed) {
  const TemporaryFolder folder;
  EXPECT_TRUE(read_aws_profiles({.credentials = folder.file("no"), .config = ""})->empty());
  const auto unreadable = read_aws_profiles({.credentials = folder.path(), .config = ""});
  ASSERT_FALSE(unreadable);
  EXPECT_NE(unreadable.error().message.find(folder.path()), std::string::npos);
  const auto large = folder.write("large", std::string((1 << 20) + 1, '#'));
  EXPECT_FALSE(read_aws_profiles({.credentials = large, .config = ""}));
}

TEST(AwsFiles, TheirStampChangesWhenOneIsMadeWrittenOrRemoved) {
  const TemporaryFolder folder;
  const AwsFileNames names{.credentials = folder.file("c"), .config = folder.file("d")};
  const auto none = stamp_of(names);
  EXPECT_EQ(none, stamp_of(names));
  folder.write("c", "[a]\n");
  const auto made = stamp_of(names);
  EXPECT_NE(made, none);
  folder.write("c", "[ab]\n");
  EXPECT_NE(stamp_of(names), made);
  std::filesystem::remove(folder.file("c"));
  EXPECT_EQ(stamp_of(names), none);
}

}  // namespace
}  // namespace betrace::kms
