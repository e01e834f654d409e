#include "providers/aws_settings.h"

#include <gtest/gtest.h>

#include "provider_world.h"

namespace betrace::kms {
namespace {

constexpr const char* key_arn =
    "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

class AwsSettingsTest : public ::testing::Test {
 protected:
  AwsSettingsTest() { world_.settings["aws.kms.master-key-id"] = key_arn; }
  Result<AwsSettings> read(const AwsProfile& profile = {}) {
    return read_aws_settings(world_.environment(), profile);
  }
  std::string refusal() {
    const auto settings = read();
    EXPECT_FALSE(settings);
    if (settings) return {};
    EXPECT_EQ(settings.error().code, ErrorCode::invalid_argument);
    return settings.error().message;
  }
  ProviderWorld world_;
};

TEST_F(AwsSettingsTest, EveryWayToNameAKeyIsAccepted) {
  for (const std::string key :
       {key_arn, "arn:aws:kms:us-east-1:123456789012:alias/betrace",
        "arn:aws-cn:kms:cn-north-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws-us-gov:kms:us-gov-west-1:123456789012:alias/a/b_c-d",
        "arn:aws:kms:us-east-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab",
        "1234abcd-12ab-34cd-56ef-1234567890ab", "mrk-1234abcd12ab34cd56ef1234567890ab",
        "alias/betrace", "alias/aws/kms"}) {
    world_.settings["aws.kms.master-key-id"] = key;
    const auto settings = read();
    ASSERT_TRUE(settings) << key << ": " << settings.error().message;
    EXPECT_EQ(settings->key_id, key);
  }
}

TEST_F(AwsSettingsTest, WhatNamesNoKeyIsRefusedWithKeyValueAndReason) {
  const std::vector<std::pair<std::string, std::string>> bad{
      {"my key", "neither an ARN"},
      {"betrace/key", "neither an ARN"},
      {"alias/", "neither an ARN"},
      {"alias/sp ace", "neither an ARN"},
      {"arn:aws:kms:us-east-1:123456789012", "six parts"},
      {"arn:gcp:kms:us-east-1:123456789012:key/a", "partition is 'gcp'"},
      {"arn:aws:s3:us-east-1:123456789012:key/a", "service is 's3'"},
      {"arn:aws:kms::123456789012:key/a", "region is ''"},
      {"arn:aws:kms:us east:123456789012:key/a", "region is 'us east'"},
      {"arn:aws:kms:us-east-1:12345:key/a", "account has 12 digits"},
      {"arn:aws:kms:us-east-1:123456789012:secret/a", "names 'secret/a'"},
      {"arn:aws:kms:us-east-1:123456789012:key/", "names 'key/'"},
      {std::string(2049, 'a'), "longer than 2048"},
  };
  for (const auto& [key, reason] : bad) {
    world_.settings["aws.kms.master-key-id"] = key;
    const std::string message = refusal();
    EXPECT_TRUE(message.starts_with("aws.kms.master-key-id='" + key + "'")) << message;
    EXPECT_NE(message.find(reason), std::string::npos) << message;
    EXPECT_NE(message.find("alias/NAME"), std::string::npos) << message;
  }
}

TEST_F(AwsSettingsTest, AMissingKeyIsSaidWithWhatWouldBeAccepted) {
  world_.settings.clear();
  EXPECT_TRUE(refusal().starts_with("aws.kms.master-key-id is not set"));
}

TEST_F(AwsSettingsTest, TheRegionIsTheSettingElseTheVariableElseTheProfileElseUsEast1) {
  EXPECT_EQ(read()->home.name, "us-east-1");
  EXPECT_EQ(read({{"region", WipedString("eu-north-1")}})->home.name, "eu-north-1");
  world_.variables["AWS_DEFAULT_REGION"] = "eu-west-2";
  EXPECT_EQ(read({{"region", WipedString("eu-north-1")}})->home.name, "eu-west-2");
  world_.variables["AWS_REGION"] = "eu-west-3";
  EXPECT_EQ(read()->home.name, "eu-west-3");
  world_.settings["aws.kms.region"] = "ap-south-1";
  EXPECT_EQ(read()->home.name, "ap-south-1");
  EXPECT_EQ(read()->home.kms_url, "https://kms.ap-south-1.amazonaws.com");
  EXPECT_EQ(read()->home.sts_url, "https://sts.ap-south-1.amazonaws.com");
}

TEST_F(AwsSettingsTest, AnEmptyVariableCountsAsAbsent) {
  world_.variables = {{"AWS_REGION", ""}, {"AWS_ENDPOINT_URL", ""}};
  EXPECT_EQ(read()->home.name, "us-east-1");
  EXPECT_EQ(read()->home.kms_url, "https://kms.us-east-1.amazonaws.com");
}

TEST_F(AwsSettingsTest, ARegionThatIsNoneIsRefusedByTheNameOfItsSource) {
  world_.variables["AWS_REGION"] = "us east";
  EXPECT_TRUE(refusal().starts_with("AWS_REGION='us east'"));
  world_.settings["aws.kms.region"] = "https://x";
  EXPECT_TRUE(refusal().starts_with("aws.kms.region='https://x'"));
}

TEST_F(AwsSettingsTest, EachPartitionHasItsOwnDomain) {
  EXPECT_EQ(aws_service_url("kms", "cn-north-1"), "https://kms.cn-north-1.amazonaws.com.cn");
  EXPECT_EQ(aws_service_url("kms", "us-gov-west-1"), "https://kms.us-gov-west-1.amazonaws.com");
  EXPECT_EQ(aws_service_url("sts", "us-iso-east-1"), "https://sts.us-iso-east-1.c2s.ic.gov");
  EXPECT_EQ(aws_service_url("sts", "us-isob-east-1"), "https://sts.us-isob-east-1.sc2s.sgov.gov");
}

TEST_F(AwsSettingsTest, TheEndpointIsTheSettingElseTheServicesVariableElseTheCommonOne) {
  world_.variables["AWS_ENDPOINT_URL"] = "http://all:1/";
  EXPECT_EQ(read()->home.kms_url, "http://all:1");
  EXPECT_EQ(read()->home.sts_url, "http://all:1");
  world_.variables["AWS_ENDPOINT_URL_KMS"] = "http://kms:2";
  world_.variables["AWS_ENDPOINT_URL_STS"] = "http://sts:3";
  EXPECT_EQ(read()->home.kms_url, "http://kms:2");
  EXPECT_EQ(read()->home.sts_url, "http://sts:3");
  world_.settings["aws.kms.endpoint"] = "http://localhost:4566";
  EXPECT_EQ(read()->home.kms_url, "http://localhost:4566");
  EXPECT_EQ(read()->home.sts_url, "http://sts:3");
}

TEST_F(AwsSettingsTest, AnEndpointThatIsNoUrlIsRefusedByTheNameOfItsSource) {
  for (const char* url : {"localhost:4566", "ftp://x", "http://", "https:///x", "http://a b",
                          "http://u:p@x", "http://x?y", "http:/x", ""}) {
    world_.settings["aws.kms.endpoint"] = url;
    EXPECT_TRUE(refusal().starts_with("aws.kms.endpoint='")) << url;
  }
  world_.settings.erase("aws.kms.endpoint");
  world_.variables["AWS_ENDPOINT_URL_KMS"] = "nonsense";
  EXPECT_TRUE(refusal().starts_with("AWS_ENDPOINT_URL_KMS='nonsense'"));
}

TEST_F(AwsSettingsTest, AKeyOfAnotherRegionIsWarnedAboutAndTheConfiguredRegionIsAsked) {
  EXPECT_TRUE(read()->warnings.empty());
  world_.settings["aws.kms.region"] = "eu-west-1";
  const auto settings = read();
  ASSERT_EQ(settings->warnings.size(), 1u);
  for (const char* part : {"us-east-1", "aws.kms.region is eu-west-1", "Set aws.kms.region="}) {
    EXPECT_NE(settings->warnings[0].find(part), std::string::npos) << settings->warnings[0];
  }
  EXPECT_EQ(settings->home.kms_url, "https://kms.eu-west-1.amazonaws.com");
  world_.settings["aws.kms.master-key-id"] = "alias/betrace";
  EXPECT_TRUE(read()->warnings.empty());
}

TEST_F(AwsSettingsTest, APasswordInAnEndpointIsRefusedAndNotRepeated) {
  world_.settings["aws.kms.endpoint"] = "https://user:s3cr3t@host";
  const std::string message = refusal();
  EXPECT_TRUE(message.starts_with("aws.kms.endpoint='")) << message;
  EXPECT_EQ(message.find("s3cr3t"), std::string::npos) << message;
}

TEST_F(AwsSettingsTest, PlainHttpThatLeavesTheMachineIsWarnedAbout) {
  for (const char* own : {"http://localhost:4566", "http://127.0.0.1:4566", "http://[::1]:4566",
                          "https://vpce.example"}) {
    world_.settings["aws.kms.endpoint"] = own;
    EXPECT_TRUE(read()->warnings.empty()) << own;
  }
  world_.settings["aws.kms.endpoint"] = "http://kms.example:4566";
  ASSERT_EQ(read()->warnings.size(), 1u);
  EXPECT_NE(read()->warnings[0].find("http://kms.example:4566 is plain HTTP"), std::string::npos);
  world_.settings["aws.kms.endpoint"] = "https://kms.example";
  world_.variables["AWS_ENDPOINT_URL_STS"] = "http://sts.example";
  EXPECT_EQ(read()->warnings.size(), 1u);
}

TEST(AwsArns, AreTakenApartAtTheFirstFiveColons) {
  const auto arn = parse_arn("arn:aws:kms:us-east-1:123456789012:alias/a:b");
  ASSERT_TRUE(arn);
  EXPECT_EQ(arn->region, "us-east-1");
  EXPECT_EQ(arn->account, "123456789012");
  EXPECT_EQ(arn->resource, "alias/a:b");
  for (const char* text :
       {"", "arn", "arn:aws", "arn:aws:kms:us-east-1:123", "x:aws:kms:r:a:key/k"}) {
    EXPECT_FALSE(parse_arn(text)) << text;
  }
}

TEST(AwsArns, ABareKeyIdAndItsArnNameTheSameKey) {
  EXPECT_TRUE(same_kms_key(key_arn, "1234abcd-12ab-34cd-56ef-1234567890ab"));
  EXPECT_TRUE(same_kms_key(key_arn, key_arn));
  EXPECT_FALSE(same_kms_key(key_arn, "1234abcd-12ab-34cd-56ef-1234567890ac"));
}

TEST_F(AwsSettingsTest, FipsAndDualStackAreSettingsOrVariables) {
  world_.variables["AWS_USE_FIPS_ENDPOINT"] = "true";
  EXPECT_EQ(read()->home.kms_url, "https://kms-fips.us-east-1.amazonaws.com");
  world_.settings["aws.kms.use-fips-endpoint"] = "false";
  world_.settings["aws.kms.use-dualstack-endpoint"] = "true";
  EXPECT_EQ(read()->home.kms_url, "https://kms.us-east-1.api.aws");
  EXPECT_EQ(read()->home.sts_url, "https://sts.us-east-1.api.aws");
  world_.settings["aws.kms.endpoint"] = "http://localhost:4566";
  EXPECT_EQ(read()->home.kms_url, "http://localhost:4566");
  world_.settings["aws.kms.use-fips-endpoint"] = "yes";
  EXPECT_EQ(refusal(), "aws.kms.use-fips-endpoint='yes': accepted are true and false");
}

TEST(AwsServiceUrl, HasFipsAndDualStackOfEachPartition) {
  EXPECT_EQ(aws_service_url("kms", "us-east-1", {.fips = true}),
            "https://kms-fips.us-east-1.amazonaws.com");
  EXPECT_EQ(aws_service_url("kms", "eu-west-1", {.dual_stack = true}),
            "https://kms.eu-west-1.api.aws");
  EXPECT_EQ(aws_service_url("kms", "us-gov-west-1", {.fips = true, .dual_stack = true}),
            "https://kms-fips.us-gov-west-1.api.aws");
  // As botocore 1.40 has it.
  EXPECT_EQ(aws_service_url("sts", "us-gov-west-1", {.fips = true}),
            "https://sts.us-gov-west-1.amazonaws.com");
  EXPECT_EQ(aws_service_url("kms", "us-gov-west-1", {.fips = true}),
            "https://kms-fips.us-gov-west-1.amazonaws.com");
  EXPECT_EQ(aws_service_url("kms", "cn-north-1", {.dual_stack = true}),
            "https://kms.cn-north-1.api.amazonwebservices.com.cn");
}

TEST_F(AwsSettingsTest, TheProfileChoosesEndpointsWhereNeitherSettingNorVariableDoes) {
  AwsProfile profile{{"use_fips_endpoint", WipedString("true")},
                     {"use_dualstack_endpoint", WipedString("true")}};
  EXPECT_EQ(read(profile)->home.kms_url, "https://kms-fips.us-east-1.api.aws");
  world_.variables["AWS_USE_FIPS_ENDPOINT"] = "false";
  world_.settings["aws.kms.use-dualstack-endpoint"] = "false";
  EXPECT_EQ(read(profile)->home.kms_url, "https://kms.us-east-1.amazonaws.com");
  profile["endpoint_url"] = "http://localhost:4566";
  EXPECT_EQ(read(profile)->home.kms_url, "http://localhost:4566");
  EXPECT_EQ(read(profile)->home.sts_url, "http://localhost:4566");
  profile = {{"use_fips_endpoint", WipedString("yes")}};
  world_.variables.clear();
  EXPECT_EQ(read(profile).error().message,
            "use_fips_endpoint of the AWS profile='yes': accepted are true and false");
}

TEST_F(AwsSettingsTest, ReplicasAreRegionsInOrderEachPerhapsWithItsAddress) {
  world_.settings["aws.kms.master-key-id"] = "mrk-1234abcd12ab34cd56ef1234567890ab";
  world_.settings["aws.kms.replica-regions"] = "us-west-2, eu-west-1=https://vpce-1.example";
  const auto settings = read();
  ASSERT_TRUE(settings) << settings.error().message;
  ASSERT_EQ(settings->replicas.size(), 2u);
  EXPECT_EQ(settings->replicas[0].name, "us-west-2");
  EXPECT_EQ(settings->replicas[0].kms_url, "https://kms.us-west-2.amazonaws.com");
  EXPECT_EQ(settings->replicas[0].sts_url, "https://sts.us-west-2.amazonaws.com");
  EXPECT_EQ(settings->replicas[1].name, "eu-west-1");
  EXPECT_EQ(settings->replicas[1].kms_url, "https://vpce-1.example");
}

TEST_F(AwsSettingsTest, ReplicasThatCannotBeAreRefusedWithKeyValueAndReason) {
  const std::string multi =
      "arn:aws:kms:us-east-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab";
  const std::vector<std::array<std::string, 4>> bad{
      {multi, "us west", "", "'us west' is not the name of a region"},
      {multi, "us-west-2,", "", "'' is not the name of a region"},
      {multi, "us-west-2,us-west-2", "", "us-west-2 is there twice"},
      {multi, "us-east-1", "", "us-east-1 is there twice"},
      {multi, "us-west-2=ftp://x", "", "ftp://x"},
      {multi, "us-west-2", "http://localhost:4566", "us-west-2=https://"},
      {key_arn, "us-west-2", "", "only a multi-region key has replicas"},
      {"alias/mrk-x", "us-west-2", "", "only a multi-region key has replicas"},
  };
  for (const auto& [key, replicas, endpoint, reason] : bad) {
    world_.settings["aws.kms.master-key-id"] = key;
    world_.settings["aws.kms.replica-regions"] = replicas;
    world_.settings["aws.kms.endpoint"] = endpoint;
    if (endpoint.empty()) world_.settings.erase("aws.kms.endpoint");
    const std::string message = refusal();
    EXPECT_TRUE(message.starts_with("aws.kms.replica-regions='")) << message;
    EXPECT_NE(message.find(reason), std::string::npos) << message;
  }
}

TEST_F(AwsSettingsTest, AMultiRegionKeyIsNamedAsTheRegionOfTheRequestsNamesIt) {
  const auto in = [](std::string_view region) {
    return "arn:aws:kms:" + std::string(region) +
           ":123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab";
  };
  world_.settings["aws.kms.master-key-id"] = in("us-east-1");
  world_.settings["aws.kms.region"] = "eu-west-1";
  EXPECT_EQ(read()->key_id, in("eu-west-1"));
  EXPECT_TRUE(read()->warnings.empty());
  EXPECT_EQ(key_in_region(in("eu-west-1"), "us-west-2"), in("us-west-2"));
  EXPECT_EQ(key_in_region(key_arn, "us-west-2"), key_arn);
  EXPECT_EQ(key_in_region("alias/mrk-x", "us-west-2"), "alias/mrk-x");
}

}  // namespace
}  // namespace betrace::kms
