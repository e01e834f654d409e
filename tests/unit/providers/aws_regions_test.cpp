// A multi-region key: which region is asked, and that what one wrapped another opens.
#include "providers/aws_regions.h"

#include <gtest/gtest.h>

#include "provider_world.h"
#include "providers/aws.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const EncryptionContext context{{"keyType", "signing"}, {"tenantId", "T"}};

class MultiRegionKeyTest : public ::testing::Test {
 protected:
  MultiRegionKeyTest() : arn_(world_.aws.kms.create_multi_region_key()) {
    world_.settings["aws.kms.master-key-id"] = arn_;
    world_.settings["aws.kms.replica-regions"] = "us-west-2, eu-west-1";
    world_.variables = {{"AWS_ACCESS_KEY_ID", "AKIA"}, {"AWS_SECRET_ACCESS_KEY", "secret"}};
  }
  std::unique_ptr<Provider> make() {
    auto made = make_aws_provider(world_.environment());
    if (!made) throw std::runtime_error(made.error().message);
    return *std::move(made);
  }
  void down(const std::string& region, FakeKms::Trouble trouble = {.status = 503}) {
    trouble.region = region;
    trouble.times = 1'000'000;
    world_.aws.kms.add_trouble(std::move(trouble));
  }
  // The regions that were asked, in order, since the last time.
  std::vector<std::string> asked() {
    std::vector<std::string> regions;
    const auto seen = world_.aws.kms.seen();
    for (std::size_t i = told_; i < seen.size(); ++i) regions.push_back(seen[i].region);
    told_ = seen.size();
    return regions;
  }
  using Regions = std::vector<std::string>;

  ProviderWorld world_;
  const std::string arn_;
  const CallContext call_ = CallContext::system("test");
  std::size_t told_ = 0;
};

TEST_F(MultiRegionKeyTest, TheFirstRegionIsAskedWhileItIsUp) {
  const auto provider = make();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(provider->generate_data_key(call_, context));
  EXPECT_EQ(asked(), (Regions{"us-east-1", "us-east-1", "us-east-1"}));
  EXPECT_EQ(provider->description(),
            "AWS KMS - region: us-east-1, then us-west-2, then eu-west-1, key: " + arn_);
}

TEST_F(MultiRegionKeyTest, TheNextOneServesWhenItIsDownWhateverTheWay) {
  const std::vector<FakeKms::Trouble> ways{
      {.status = 500, .body = R"({"__type":"KMSInternalException"})"},
      {.status = 503, .body = "<html>"},
      {.status = 400, .body = R"({"__type":"ThrottlingException"})"},
      {.network = Error{.code = ErrorCode::kms_unavailable, .message = "Connection refused"}},
      {.delay = std::chrono::hours(1)},
      {.status = 200, .body = "welcome to the captive portal"},
  };
  for (const auto& way : ways) {
    ProviderWorld fresh;
    const auto arn = fresh.aws.kms.create_multi_region_key();
    fresh.settings = world_.settings;
    fresh.variables = world_.variables;
    auto trouble = way;
    trouble.region = "us-east-1";
    trouble.times = 1'000'000;
    fresh.aws.kms.add_trouble(trouble);
    const auto provider = *make_aws_provider(fresh.environment());
    const auto key = provider->generate_data_key(call_, context);
    ASSERT_TRUE(key) << key.error().message;
    EXPECT_TRUE(provider->decrypt(call_, key->wrapped, context));
    EXPECT_TRUE(provider->encrypt(call_, Bytes(32), context));
    EXPECT_TRUE(provider->describe_key(call_));
    EXPECT_EQ(fresh.aws.kms.seen().size(), 5u);  // one at the region that is down
  }
}

TEST_F(MultiRegionKeyTest, ARegionThatIsDownIsTriedAgainByOneCallAfterHalfAMinute) {
  const auto provider = make();
  down("us-east-1");
  const auto use = [&] { return provider->describe_key(call_).has_value(); };
  EXPECT_TRUE(use());
  EXPECT_TRUE(use());
  EXPECT_EQ(asked(), (Regions{"us-east-1", "us-west-2", "us-west-2"}));
  world_.clock.advance(AwsRegions::rest - milliseconds(1));
  EXPECT_TRUE(use());
  EXPECT_EQ(asked(), (Regions{"us-west-2"}));
  world_.clock.advance(milliseconds(1));
  EXPECT_TRUE(use());
  EXPECT_TRUE(use());
  EXPECT_EQ(asked(), (Regions{"us-east-1", "us-west-2", "us-west-2"}));
  world_.aws.kms.clear_troubles();
  world_.clock.advance(AwsRegions::rest);
  EXPECT_TRUE(use());
  EXPECT_TRUE(use());
  EXPECT_EQ(asked(), (Regions{"us-east-1", "us-east-1"}));
}

TEST_F(MultiRegionKeyTest, ASilentRegionTakesHalfOfTheTimeAndTheNextHalfOfTheRest) {
  const auto provider = make();
  down("us-east-1", {.delay = std::chrono::hours(1)});
  down("us-west-2", {.delay = std::chrono::hours(1)});
  CallContext call = call_;
  call.deadline = world_.clock.steady_now() + seconds(4);
  EXPECT_TRUE(provider->describe_key(call));
  const auto seen = world_.aws.kms.seen();
  ASSERT_EQ(seen.size(), 3u);
  // The fake takes no time for its silence.
  EXPECT_EQ(seen[0].timeout, seconds(2));
  EXPECT_EQ(seen[1].timeout, seconds(2));
  EXPECT_EQ(seen[2].timeout, seconds(4));
}

TEST_F(MultiRegionKeyTest, ARefusalIsAnAnswerAndNoReplicaIsAskedToGetAroundIt) {
  const auto provider = make();
  const auto key = provider->generate_data_key(call_, context);
  asked();
  const auto other = provider->decrypt(call_, key->wrapped, {{"tenantId", "U"}});
  EXPECT_EQ(other.error().code, ErrorCode::invalid_ciphertext);
  world_.aws.kms.set_state(arn_, "Disabled");
  EXPECT_EQ(provider->decrypt(call_, key->wrapped, context).error().code,
            ErrorCode::kms_key_disabled);
  world_.aws.kms.deny("Decrypt");
  EXPECT_EQ(provider->decrypt(call_, key->wrapped, context).error().code,
            ErrorCode::kms_access_denied);
  EXPECT_EQ(asked(), (Regions{"us-east-1", "us-east-1", "us-east-1"}));
}

TEST_F(MultiRegionKeyTest, WhenAllAreDownTheErrorNamesEach) {
  const auto provider = make();
  down("", {.network = Error{.code = ErrorCode::kms_unavailable, .message = "Connection refused"}});
  const auto key = provider->generate_data_key(call_, context);
  ASSERT_FALSE(key);
  EXPECT_EQ(key.error().code, ErrorCode::kms_unavailable);
  EXPECT_EQ(key.error().message,
            "Failed to generate data key: Connection refused; Failed to generate data key: "
            "Connection refused; Failed to generate data key: Connection refused");
  EXPECT_EQ(asked(), (Regions{"us-east-1", "us-west-2", "eu-west-1"}));
}

TEST_F(MultiRegionKeyTest, WhatOneRegionWrappedIsRecordedUnderOneNameAndOpensInEach) {
  const auto provider = make();
  const auto at_home = provider->generate_data_key(call_, context);
  down("us-east-1");
  const auto abroad = provider->generate_data_key(call_, context);
  ASSERT_TRUE(at_home && abroad);
  EXPECT_EQ(at_home->wrapped.master_key_id, arn_);
  EXPECT_EQ(abroad->wrapped.master_key_id, arn_);
  EXPECT_EQ(provider->describe_key(call_)->key_id, arn_);
  EXPECT_TRUE(*provider->decrypt(call_, at_home->wrapped, context) == at_home->plaintext);

  // A service of another region, which knows of no replicas.
  world_.settings.erase("aws.kms.replica-regions");
  world_.settings["aws.kms.region"] = "eu-west-1";
  const auto elsewhere = make();
  for (const auto* key : {&*at_home, &*abroad}) {
    const auto opened = elsewhere->decrypt(call_, key->wrapped, context);
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_TRUE(*opened == key->plaintext);
  }
  EXPECT_EQ(asked().back(), "eu-west-1");
}

TEST_F(MultiRegionKeyTest, RolesAreAssumedInTheNextRegionToo) {
  AwsRegions regions("AWS STS", {{"us-east-1", "", "https://a"}, {"us-west-2", "", "https://b"}},
                     world_.clock);
  std::vector<std::string> asked;
  const auto answer = regions.ask(call_, [&](const CallContext&, const AwsRegion& region) {
    asked.push_back(region.sts_url);
    return region.sts_url == "https://a"
               ? Result<int>(fail(ErrorCode::kms_unavailable, "Connection refused"))
               : Result<int>(7);
  });
  EXPECT_EQ(answer, 7);
  EXPECT_EQ(asked, (Regions{"https://a", "https://b"}));
}

}  // namespace
}  // namespace betrace::kms
