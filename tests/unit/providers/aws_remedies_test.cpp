#include "providers/aws_remedies.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace betrace::kms {
namespace {

constexpr const char* key = "arn:aws:kms:us-east-1:123456789012:key/abcd-1234";

AwsRemedies remedies(std::string key_id = key, std::string url = {}) {
  AwsSettings settings{.key_id = std::move(key_id), .home = {.name = "us-east-1"}};
  settings.home.kms_url = url.empty() ? aws_service_url("kms", settings.home.name) : std::move(url);
  return AwsRemedies(settings);
}

std::string all(const Advice& advice) {
  std::string text = advice.cause + "\n";
  for (const auto& command : advice.commands) text += command + "\n";
  return text;
}

std::string denied(std::string message, std::string type = "AccessDeniedException",
                   std::string key_id = key) {
  const Error error{
      .code = ErrorCode::kms_access_denied, .message = std::move(message), .type = std::move(type)};
  return all(
      remedies(std::move(key_id)).advise({.kind = TroubleKind::access_denied, .error = &error}));
}

testing::AssertionResult holds(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << '"' << part << "\" is not in:\n" << text;
}

TEST(AwsRemedies, GrantTheFourPermissionsToTheRoleThatAwsNames) {
  const auto text = denied(
      "User: arn:aws:sts::123456789012:assumed-role/betrace-backend-role/i-0abc is not authorized "
      "to perform: kms:GenerateDataKey on resource: "
      "arn:aws:kms:us-east-1:123456789012:key/from-aws "
      "because no identity-based policy allows the kms:GenerateDataKey action");
  EXPECT_TRUE(holds(text,
                    "aws iam put-role-policy --role-name betrace-backend-role --policy-name "
                    "betrace-kms-access --policy-document '"));
  EXPECT_TRUE(
      holds(text, R"(["kms:GenerateDataKey","kms:Encrypt","kms:Decrypt","kms:DescribeKey"])"));
  EXPECT_TRUE(holds(text, R"("Resource":"arn:aws:kms:us-east-1:123456789012:key/from-aws")"));
}

TEST(AwsRemedies, KnowRolesAndUsersWithPaths) {
  EXPECT_TRUE(holds(denied("User: arn:aws:iam::123456789012:role/ops/r is not authorized"),
                    "put-role-policy --role-name r "));
  EXPECT_TRUE(holds(denied("User: arn:aws:iam::123456789012:user/u is not authorized"),
                    "put-user-policy --user-name u "));
}

TEST(AwsRemedies, GrantNothingOnAnAlias) {
  EXPECT_TRUE(holds(denied("User: arn:aws:iam::123456789012:user/u is not authorized",
                           "AccessDeniedException", "alias/betrace"),
                    R"("Resource":"arn:aws:kms:us-east-1:123456789012:key/*")"));
}

TEST(AwsRemedies, LookAtTheKeyPolicyOfAnotherAccount) {
  const auto text = denied("User: arn:aws:iam::999999999999:role/r is not authorized");
  EXPECT_TRUE(holds(text, "another account"));
  EXPECT_TRUE(holds(text, std::string("aws kms get-key-policy --policy-name default --key-id ") +
                              key + " --region us-east-1"));
}

TEST(AwsRemedies, TellCredentialsFromPolicies) {
  for (const auto& text : {denied("The security token included in the request is invalid.",
                                  "UnrecognizedClientException"),
                           denied("no AWS credentials found; looked in: environment", "")}) {
    EXPECT_TRUE(holds(text, "credentials are missing"));
    EXPECT_EQ(text.find("put-"), std::string::npos) << text;
  }
  EXPECT_TRUE(
      holds(denied("The request signature we calculated does not match", "SignatureDoesNotMatch"),
            "secret access key"));
}

TEST(AwsRemedies, CancelADeletionAndEnableTheKey) {
  const auto advice = remedies().advise({.kind = TroubleKind::key_pending_deletion, .key_id = key});
  EXPECT_EQ(advice.commands,
            (std::vector<std::string>{
                std::string("aws kms cancel-key-deletion --key-id ") + key + " --region us-east-1",
                std::string("aws kms enable-key --key-id ") + key + " --region us-east-1"}));
}

TEST(AwsRemedies, NameTheEndpointThatIsNotAwss) {
  const auto text = all(remedies(key, "http://localhost:4566")
                            .advise({.kind = TroubleKind::key_disabled, .key_id = key}));
  EXPECT_TRUE(holds(text, "enable-key"));
  EXPECT_TRUE(holds(text, "--endpoint-url http://localhost:4566"));
}

TEST(AwsRemedies, EnableNoKeyThatIsNotThere) {
  const Error error{.code = ErrorCode::kms_key_disabled,
                    .message = "Key does not exist",
                    .type = "NotFoundException"};
  const auto text = all(remedies().advise({.kind = TroubleKind::key_disabled, .error = &error}));
  EXPECT_TRUE(holds(text, "no such key in region us-east-1"));
  EXPECT_EQ(text.find("enable-key"), std::string::npos);
}

TEST(AwsRemedies, FollowTheWayToASilentEndpoint) {
  const Error error{.code = ErrorCode::kms_timeout, .message = "timed out"};
  const auto text = all(remedies().advise({.kind = TroubleKind::unreachable, .error = &error}));
  EXPECT_TRUE(holds(text, "security group"));
  EXPECT_TRUE(holds(text, "curl -v --max-time 5 https://kms.us-east-1.amazonaws.com"));
}

TEST(AwsRemedies, MakeAnInterfaceEndpointAgainstSlowness) {
  EXPECT_TRUE(holds(all(remedies().advise({.kind = TroubleKind::slow})),
                    "--vpc-endpoint-type Interface --service-name com.amazonaws.us-east-1.kms"));
}

TEST(AwsRemedies, DoubtAKeyOfAnotherRegion) {
  EXPECT_TRUE(remedies().doubts().empty());
  EXPECT_TRUE(remedies("alias/betrace").doubts().empty());
  const auto doubts = remedies("arn:aws:kms:eu-west-1:123456789012:key/a").doubts();
  ASSERT_EQ(doubts.size(), 1U);
  EXPECT_EQ(doubts[0].finding.id, "region-mismatch");
  EXPECT_EQ(doubts[0].advice.settings.at(0),
            (std::pair<std::string, std::string>("aws.kms.region", "eu-west-1")));
}

TEST(AwsRemedies, CallOperationsAsPoliciesDo) {
  EXPECT_EQ(remedies().permission("generate_data_key"), "kms:GenerateDataKey");
  EXPECT_EQ(remedies().permission("encrypt"), "kms:Encrypt");
  EXPECT_EQ(remedies().permission("decrypt"), "kms:Decrypt");
  EXPECT_EQ(remedies().permission("describe_key"), "kms:DescribeKey");
}

}  // namespace
}  // namespace betrace::kms
