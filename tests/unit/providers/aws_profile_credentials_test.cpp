#include "providers/aws_profile_credentials.h"

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "provider_world.h"
#include "temporary_folder.h"

namespace betrace::kms {
namespace {

const CallContext call = CallContext::system("test");
constexpr const char* role_arn = "arn:aws:iam::123456789012:role/betrace";
constexpr const char* outer_role_arn = "arn:aws:iam::210987654321:role/outer";

class AwsProfileCredentialsTest : public ::testing::Test {
 protected:
  AwsProfileCredentialsTest() {
    world_.variables["AWS_SHARED_CREDENTIALS_FILE"] = folder_.file("credentials");
    world_.variables["AWS_CONFIG_FILE"] = folder_.file("config");
    world_.aws.sts.allow({.arn = role_arn,
                          .trusted_access_key_id = "AKIABASE",
                          .access_key_id = "ASIAROLE",
                          .expiration = "2025-11-23T01:00:00Z"});
  }
  ProfileCredentials source() {
    return ProfileCredentials(world_.environment(), {{"us-east-1", "", "https://sts.example"}});
  }
  Result<std::optional<AwsCredentials>> load() { return source().load(call); }
  std::string refusal() {
    const auto got = load();
    EXPECT_FALSE(got);
    return got ? "" : got.error().message;
  }
  void base_keys() {
    folder_.write("credentials",
                  "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = base-secret\n");
  }
  void config(const std::string& text) { folder_.write("config", text); }

  TemporaryFolder folder_;
  ProviderWorld world_;
};

TEST_F(AwsProfileCredentialsTest, StaticKeysAndSessionTokensAreReadFromTheProfileInUse) {
  folder_.write("credentials",
                "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = s1\n"
                "[temporary]\naws_access_key_id = ASIA2\naws_secret_access_key = s2\n"
                "aws_session_token = t2\n");
  auto found = load();
  ASSERT_TRUE(found && *found) << found.error().message;
  EXPECT_EQ((*found)->access_key_id, "AKIA1");
  EXPECT_EQ((*found)->session_token, "");
  world_.variables["AWS_PROFILE"] = "temporary";
  found = load();
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->access_key_id, "ASIA2");
  EXPECT_EQ((*found)->secret_access_key, "s2");
  EXPECT_EQ((*found)->session_token, "t2");
}

TEST_F(AwsProfileCredentialsTest, NoFilesOrNoKeysInTheDefaultProfileMeansNothingHere) {
  EXPECT_FALSE(load()->has_value());
  config("[default]\nregion = eu-west-1\n");
  EXPECT_FALSE(load()->has_value());
}

TEST_F(AwsProfileCredentialsTest, AProfileThatWasNamedAndIsNotThereIsAnError) {
  world_.variables["AWS_PROFILE"] = "prod";
  const std::string message = refusal();
  for (const auto& part : {std::string("AWS profile 'prod'"), std::string("by AWS_PROFILE"),
                           folder_.file("credentials"), folder_.file("config")}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
  world_.settings["aws.kms.profile"] = "kms";
  EXPECT_NE(refusal().find("AWS profile 'kms': it is named by aws.kms.profile"), std::string::npos);
}

TEST_F(AwsProfileCredentialsTest, HalfAPairOfKeysIsAnErrorThatDoesNotTellTheOtherHalf) {
  folder_.write("credentials", "[default]\naws_secret_access_key = s3cr3t\n");
  const std::string message = refusal();
  EXPECT_NE(message.find("aws_access_key_id is not"), std::string::npos) << message;
  EXPECT_EQ(message.find("s3cr3t"), std::string::npos);
}

TEST_F(AwsProfileCredentialsTest, ARoleIsAssumedFromItsSourceProfile) {
  base_keys();
  config(std::string("[default]\nrole_arn = ") + role_arn +
         "\nsource_profile = base\nrole_session_name = nightly\nduration_seconds = 900\n");
  const auto found = load();
  ASSERT_TRUE(found && *found) << found.error().message;
  EXPECT_EQ((*found)->access_key_id, "ASIAROLE1");
  EXPECT_EQ((*found)->secret_access_key, "role-secret");
  EXPECT_EQ((*found)->session_token, "role&token");
  EXPECT_EQ((*found)->expires_at, parse_utc_time("2025-11-23T01:00:00Z"));
  EXPECT_EQ(world_.aws.sts.bodies(),
            std::vector<std::string>{
                "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3A"
                "role%2Fbetrace&RoleSessionName=nightly&DurationSeconds=900"});
}

TEST_F(AwsProfileCredentialsTest, AnExternalIdIsSentAndASessionNameTakenFromTheEnvironment) {
  base_keys();
  world_.aws.sts.allow({.arn = role_arn,
                        .trusted_access_key_id = "AKIABASE",
                        .external_id = "a b&c",
                        .access_key_id = "ASIA",
                        .expiration = "2025-11-23T01:00:00Z"});
  world_.variables["AWS_ROLE_SESSION_NAME"] = "from-env";
  config(std::string("[default]\nrole_arn = ") + role_arn +
         "\nsource_profile = base\nexternal_id = a b&c\n");
  ASSERT_TRUE(load());
  const std::string body = world_.aws.sts.bodies().at(0);
  EXPECT_NE(body.find("RoleSessionName=from-env&DurationSeconds=3600&ExternalId=a%20b%26c"),
            std::string::npos)
      << body;
}

TEST_F(AwsProfileCredentialsTest, RolesChain) {
  base_keys();
  world_.aws.sts.allow({.arn = outer_role_arn,
                        .trusted_access_key_id = "ASIAROLE1",
                        .access_key_id = "ASIAOUTER",
                        .expiration = "2025-11-23T01:00:00Z"});
  config(std::string("[profile inner]\nrole_arn = ") + role_arn +
         "\nsource_profile = base\n[default]\nrole_arn = " + outer_role_arn +
         "\nsource_profile = inner\n");
  const auto found = load();
  ASSERT_TRUE(found && *found) << found.error().message;
  EXPECT_EQ((*found)->access_key_id, "ASIAOUTER2");
}

TEST_F(AwsProfileCredentialsTest, AProfileMayBeItsOwnSourceWhenItHasKeys) {
  config(std::string("[default]\nrole_arn = ") + role_arn +
         "\nsource_profile = default\naws_access_key_id = AKIABASE\naws_secret_access_key = s\n");
  const auto found = load();
  ASSERT_TRUE(found && *found) << found.error().message;
  EXPECT_EQ((*found)->access_key_id, "ASIAROLE1");
}

TEST_F(AwsProfileCredentialsTest, SourceProfilesInACircleAreRefusedWithTheCircle) {
  config(
      "[default]\nrole_arn = r1\nsource_profile = b\n"
      "[profile b]\nrole_arn = r2\nsource_profile = c\n"
      "[profile c]\nrole_arn = r3\nsource_profile = b\n");
  EXPECT_NE(refusal().find("default -> b -> c -> b"), std::string::npos);
  config("[default]\nrole_arn = r1\nsource_profile = default\n");
  EXPECT_NE(refusal().find("default -> default"), std::string::npos);
  EXPECT_TRUE(world_.aws.sts.bodies().empty());
}

TEST_F(AwsProfileCredentialsTest, KeysOfTheEnvironmentMayBeTheSourceOfARole) {
  world_.variables["AWS_ACCESS_KEY_ID"] = "AKIABASE";
  world_.variables["AWS_SECRET_ACCESS_KEY"] = "s";
  config(std::string("[default]\nrole_arn = ") + role_arn + "\ncredential_source = Environment\n");
  ASSERT_TRUE(load());
  world_.variables.erase("AWS_ACCESS_KEY_ID");
  world_.variables.erase("AWS_SECRET_ACCESS_KEY");
  EXPECT_NE(refusal().find("credential_source=Environment, but it has none"), std::string::npos);
}

TEST_F(AwsProfileCredentialsTest, ARoleThatCannotBeAssumedSaysWhy) {
  base_keys();
  const std::vector<std::pair<std::string, std::string>> bad{
      {"role_arn = r\n", "needs source_profile"},
      {"role_arn = r\nsource_profile = nobody\n", "source_profile 'nobody' does not exist"},
      {"role_arn = r\nsource_profile = base\ncredential_source = Environment\n", "has both"},
      {"role_arn = r\ncredential_source = Ec2InstanceMetadata\n",
       "credential_source=Ec2InstanceMetadata, but it has none: instance metadata"},
      {"role_arn = r\ncredential_source = Elsewhere\n",
       "accepted are Environment, EcsContainer and Ec2InstanceMetadata"},
      {"role_arn = r\nsource_profile = base\nmfa_serial = m\n", "mfa_serial"},
      {"role_arn = r\nsource_profile = base\nduration_seconds = 60\n", "accepted are 900 to 43200"},
      {"role_arn = r\nsource_profile = base\nduration_seconds = 1h\n", "duration_seconds='1h'"},
      {"role_arn = r\nsource_profile = empty\n[profile empty]\nregion=x\n", "has no credentials"},
      {"role_arn = r\nsource_profile = cp\n[profile cp]\ncredential_process=x\n",
       "AWS profile 'cp': credential_process: 'x' cannot be run"},
      {"credential_process = /bin/sh \"\n", "its quotes are not closed"},
      {"sso_session = corp\n", "there is no [sso-session corp]"},
      {"sso_start_url = https://a\n", "SSO needs sso_region, sso_account_id and sso_role_name"},
      {"login_session = x\n", "login_session is not read by this release"},
      {"role_arn = r\nweb_identity_token_file = /nonexistent\n",
       "web_identity_token_file=/nonexistent: No such file"},
  };
  for (const auto& [lines, reason] : bad) {
    config("[default]\n" + lines);
    EXPECT_NE(refusal().find(reason), std::string::npos) << lines << refusal();
  }
  EXPECT_TRUE(world_.aws.sts.bodies().empty());
}

TEST_F(AwsProfileCredentialsTest, AProgramPrintsKeysAndMayBeTheSourceOfARole) {
  folder_.write("print", R"(echo '{"Version":1,"AccessKeyId":"AKIABASE","SecretAccessKey":"s"}')");
  const auto process = "credential_process = /bin/sh \"" + folder_.file("print") + "\"\n";
  config("[default]\n" + process);
  auto found = load();
  ASSERT_TRUE(found && *found) << found.error().message;
  EXPECT_EQ((*found)->access_key_id, "AKIABASE");
  config(std::string("[default]\nrole_arn = ") + role_arn +
         "\nsource_profile = printed\n[profile printed]\n" + process);
  found = load();
  ASSERT_TRUE(found && *found) << found.error().message;
  EXPECT_EQ((*found)->access_key_id, "ASIAROLE1");
}

TEST_F(AwsProfileCredentialsTest, StsRefusingARoleIsAccessDeniedInItsOwnWords) {
  base_keys();
  config("[default]\nrole_arn = arn:aws:iam::1:role/other\nsource_profile = base\n");
  const auto got = load();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kms_access_denied);
  EXPECT_EQ(got.error().type, "AccessDenied");
  EXPECT_EQ(got.error().message,
            "User: AKIABASE is not authorized to perform: sts:AssumeRole on resource: "
            "arn:aws:iam::1:role/other");
}

TEST_F(AwsProfileCredentialsTest, WhatStsAnswersInHalfIsUnavailable) {
  base_keys();
  config(std::string("[default]\nrole_arn = ") + role_arn + "\nsource_profile = base\n");
  for (const char* body :
       {"", "{}", "<AccessKeyId>A</AccessKeyId>",
        "<AccessKeyId>A</AccessKeyId><SecretAccessKey>S</SecretAccessKey><SessionToken>T"
        "</SessionToken><Expiration>soon</Expiration>"}) {
    world_.aws.sts.fail_with(200, body);
    const auto got = load();
    ASSERT_FALSE(got) << body;
    EXPECT_EQ(got.error().code, ErrorCode::kms_unavailable);
    EXPECT_NE(got.error().message.find("https://sts.example"), std::string::npos);
  }
  world_.aws.sts.fail_with(500, "");
  EXPECT_EQ(load().error().code, ErrorCode::kms_unavailable);
}

TEST_F(AwsProfileCredentialsTest, ChangedFilesAreNoticed) {
  base_keys();
  auto reader = source();
  EXPECT_TRUE(reader.load(call));
  EXPECT_FALSE(reader.has_changed());
  folder_.write("credentials",
                "[default]\naws_access_key_id = A\naws_secret_access_key = longer\n");
  EXPECT_TRUE(reader.has_changed());
  EXPECT_EQ((*reader.load(call))->access_key_id, "A");
  EXPECT_FALSE(reader.has_changed());
}

TEST(AwsTimes, AreReadInUtcWithOrWithoutFractions) {
  const auto expected = SystemTime(std::chrono::seconds(1'795'399'200));
  EXPECT_EQ(parse_utc_time("2026-11-23T02:00:00Z"), expected);
  EXPECT_EQ(parse_utc_time("2026-11-23T02:00:00.1234Z"), expected + std::chrono::milliseconds(123));
  for (const char* text :
       {"", "2026-11-23", "2026-11-23T02:00:00", "2026-13-23T02:00:00Z",
        "2026-11-23T02:00:00+01:00Z", "2026-11-23 02:00:00Z", "20x6-11-23T02:00:00Z"}) {
    EXPECT_FALSE(parse_utc_time(text)) << text;
  }
}

}  // namespace
}  // namespace betrace::kms
