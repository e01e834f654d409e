#include "providers/aws.h"

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "base/json.h"
#include "provider_world.h"
#include "telemetry/log.h"
#include "temporary_folder.h"

namespace betrace::kms {
namespace {

const EncryptionContext context{{"keyType", "signing"}, {"tenantId", "T"}};

class AwsProviderTest : public ::testing::Test {
 protected:
  AwsProviderTest() : key_(world_.aws.kms.create_key()) {
    world_.settings["aws.kms.master-key-id"] = key_;
    world_.variables = {{"AWS_ACCESS_KEY_ID", "AKIA"}, {"AWS_SECRET_ACCESS_KEY", "secret"}};
  }
  std::unique_ptr<Provider> make() {
    auto made = make_aws_provider(world_.environment());
    if (!made) throw std::runtime_error(made.error().message);
    return *std::move(made);
  }
  FakeKms& kms() { return world_.aws.kms; }
  Error answered(std::string operation, int status, std::string body) {
    kms().add_trouble({.operation = operation, .status = status, .body = std::move(body)});
    const auto provider = make();
    const auto error = [](const auto& result) { return result ? Error{} : result.error(); };
    if (operation == "Encrypt") return error(provider->encrypt(call_, Bytes(32), context));
    if (operation == "DescribeKey") return error(provider->describe_key(call_));
    if (operation == "GenerateDataKey") return error(provider->generate_data_key(call_, context));
    return error(provider->decrypt(
        call_, {.provider = "aws", .master_key_id = key_, .blob = {1, 2, 3}}, context));
  }

  ProviderWorld world_;
  const std::string key_;
  const CallContext call_ = CallContext::system("test");
};

TEST_F(AwsProviderTest, DescribesItselfAsTheStartupLineSays) {
  world_.settings["aws.kms.master-key-id"] = "alias/betrace";
  EXPECT_EQ(make()->description(), "AWS KMS - region: us-east-1, key: alias/betrace");
  EXPECT_TRUE(make()->remote());
}

TEST_F(AwsProviderTest, SendsExactlyTheRequestsOfTrentService) {
  const auto provider = make();
  const auto key = provider->generate_data_key(call_, context);
  ASSERT_TRUE(key) << key.error().message;
  ASSERT_TRUE(provider->encrypt(call_, Bytes{1, 2, 3}, context));
  ASSERT_TRUE(provider->decrypt(call_, key->wrapped, context));
  ASSERT_TRUE(provider->describe_key(call_));
  const auto seen = kms().seen();
  ASSERT_EQ(seen.size(), 4u);
  const std::string bound =
      R"({"KeyId":")" + key_ + R"(","EncryptionContext":{"keyType":"signing","tenantId":"T"},)";
  EXPECT_EQ(seen[0].body, bound + R"("KeySpec":"AES_256"})");
  EXPECT_EQ(seen[1].body, bound + R"("Plaintext":"AQID"})");
  EXPECT_EQ(seen[2].body,
            bound + R"("CiphertextBlob":")" + base64_encode(key->wrapped.blob) + R"("})");
  EXPECT_EQ(seen[3].body, R"({"KeyId":")" + key_ + R"("})");
  for (const auto& each : seen) {
    EXPECT_EQ(each.url, "https://kms.us-east-1.amazonaws.com/");
    EXPECT_EQ(each.region, "us-east-1");
    EXPECT_EQ(each.access_key_id, "AKIA");
    EXPECT_EQ(each.headers, (Headers{{"Content-Type", "application/x-amz-json-1.1"},
                                     {"X-Amz-Target", "TrentService." + each.operation}}));
  }
}

TEST_F(AwsProviderTest, AContextOfAwkwardStringsArrivesAsItWas) {
  const EncryptionContext awkward{{"a\"b\\", "\n\t\x01"}, {"\u20ac", "\U0001F511"}};
  ASSERT_TRUE(make()->generate_data_key(call_, awkward));
  JsonDocument document;
  ASSERT_TRUE(document.parse(kms().seen().at(0).body));
  EncryptionContext arrived;
  for (const auto& [name, value] :
       document.root().as_object().at("EncryptionContext").as_object()) {
    arrived[std::string(name)] = std::string(value.as_string());
  }
  EXPECT_EQ(arrived, awkward);
}

TEST_F(AwsProviderTest, AnEmptyContextIsLeftOut) {
  ASSERT_TRUE(make()->generate_data_key(call_, {}));
  EXPECT_EQ(kms().seen().at(0).body.find("EncryptionContext"), std::string::npos);
}

TEST_F(AwsProviderTest, AWrappingRecordsTheKeySoThatAMovedAliasLosesNothing) {
  kms().create_alias("alias/betrace", key_);
  world_.settings["aws.kms.master-key-id"] = "alias/betrace";
  const auto provider = make();
  const auto key = provider->generate_data_key(call_, context);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->wrapped.master_key_id, key_);
  const std::string other = kms().create_key();
  kms().create_alias("alias/betrace", other);
  const auto opened = provider->decrypt(call_, key->wrapped, context);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_TRUE(*opened == key->plaintext);
  EXPECT_EQ(provider->generate_data_key(call_, context)->wrapped.master_key_id, other);
}

TEST_F(AwsProviderTest, KeysAndAliasesOfAnotherAccountAndBareKeyIdsWork) {
  kms().create_alias("alias/theirs", key_);
  for (const std::string named : {"arn:aws:kms:us-east-1:999999999999:alias/theirs",
                                  "00000000-0000-4000-8000-000000000001"}) {
    world_.settings["aws.kms.master-key-id"] = named;
    const auto provider = make();
    const auto key = provider->generate_data_key(call_, context);
    ASSERT_TRUE(key) << named;
    EXPECT_TRUE(provider->decrypt(call_, key->wrapped, context)) << named;
  }
}

TEST_F(AwsProviderTest, EveryAttemptGetsWhatIsLeftOfTheDeadline) {
  const auto provider = make();
  CallContext soon = call_;
  soon.deadline = world_.clock.steady_now() + std::chrono::milliseconds(1234);
  ASSERT_TRUE(provider->generate_data_key(soon, context));
  EXPECT_EQ(kms().seen().back().timeout, std::chrono::milliseconds(1234));
  ASSERT_TRUE(provider->generate_data_key(call_, context));
  EXPECT_EQ(kms().seen().back().timeout, std::chrono::seconds(5));

  world_.clock.advance(std::chrono::seconds(2));
  const auto late = provider->generate_data_key(soon, context);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kms_timeout);
  EXPECT_EQ(kms().seen().size(), 2u);
}

TEST_F(AwsProviderTest, ADeadNetworkIsSaidAsTheManualSaysIt) {
  kms().add_trouble(
      {.network = Error{.code = ErrorCode::kms_unavailable, .message = "Connection timed out"}});
  const auto key = make()->generate_data_key(call_, context);
  ASSERT_FALSE(key);
  EXPECT_EQ(key.error().message, "Failed to generate data key: Connection timed out");
}

TEST_F(AwsProviderTest, AnAnswerThatIsNotOneIsUnavailableAndNotQuoted) {
  const std::string id = R"("KeyId":")" + key_ + R"(")";
  const std::string blob = R"("CiphertextBlob":"QUJD")";
  const std::string zeros = R"("Plaintext":")" + base64_encode(Bytes(32)) + R"(")";
  const std::vector<std::pair<std::string, std::string>> bad{
      {"GenerateDataKey", ""},
      {"GenerateDataKey", "[]"},
      {"GenerateDataKey", R"({"KeyId":)"},
      {"GenerateDataKey", "{" + id + "," + blob + "}"},
      {"GenerateDataKey", "{" + id + "," + zeros + "}"},
      {"GenerateDataKey", "{" + blob + "," + zeros + "}"},
      {"GenerateDataKey", "{" + id + "," + blob + R"(,"Plaintext":"c2hvcnQ="})"},
      {"GenerateDataKey", "{" + id + "," + blob + R"(,"Plaintext":7})"},
      {"GenerateDataKey", "{" + id + "," + blob + R"(,"Plaintext":"!!!!"})"},
      {"GenerateDataKey", "{" + id + "," + zeros + R"(,"CiphertextBlob":""})"},
      {"GenerateDataKey", R"({"KeyId":"",)" + blob + "," + zeros + "}"},
      {"Encrypt", "{" + id + "}"},
      {"Encrypt", "{" + blob + "}"},
      {"Decrypt", "{" + id + "}"},
      {"Decrypt", "{" + zeros + "}"},
      {"Decrypt", "{" + id + R"(,"Plaintext":""})"},
      {"DescribeKey", "{}"},
      {"DescribeKey", R"({"KeyMetadata":{}})"},
      {"DescribeKey", R"({"KeyMetadata":{"Arn":"a"}})"},
  };
  for (const auto& [operation, body] : bad) {
    const Error error = answered(operation, 200, body);
    EXPECT_EQ(error.code, ErrorCode::kms_unavailable) << operation << body;
    EXPECT_NE(error.message.find("answered something that is not a " + operation + " result"),
              std::string::npos)
        << error.message;
    EXPECT_EQ(error.message.find("AAAA"), std::string::npos) << error.message;
    EXPECT_EQ(error.message.find("c2hvcnQ="), std::string::npos) << error.message;
  }
}

TEST_F(AwsProviderTest, ASlashWrittenAsAnEscapeIsReadAsOne) {
  kms().add_trouble({.status = 200,
                     .body = R"({"KeyId":"k","CiphertextBlob":"\/w==","Plaintext":")" +
                             std::string(R"(\/\/\/\/)") + std::string(39, 'A') + R"(="})"});
  const auto key = make()->generate_data_key(call_, context);
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_EQ(key->plaintext.expose()[0], 0xff);
  EXPECT_EQ(key->wrapped.blob, Bytes{0xff});
}

TEST_F(AwsProviderTest, DecryptAcceptsTheBareKeyIdThatSomeAnswerAndNoOtherKey) {
  const std::string plaintext = R"(","Plaintext":")" + base64_encode(Bytes(32)) + R"("})";
  const std::string bare = key_.substr(key_.rfind('/') + 1);
  EXPECT_EQ(answered("Decrypt", 200, R"({"KeyId":")" + bare + plaintext).message, "");
  EXPECT_EQ(answered("Decrypt", 200, R"({"KeyId":")" + kms().create_key() + plaintext).code,
            ErrorCode::wrapped_elsewhere);
}

TEST_F(AwsProviderTest, ARowUnderADeletedMasterKeyBlamesTheRowAndNotTheConfiguredKey) {
  const auto provider = make();
  const auto key = provider->generate_data_key(call_, context);
  ASSERT_TRUE(key);
  world_.settings["aws.kms.master-key-id"] = kms().create_key();
  const auto other = make();
  kms().delete_key(key_);
  const auto opened = other->decrypt(call_, key->wrapped, context);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::wrapped_elsewhere);
  EXPECT_EQ(opened.error().message, "Key '" + key_ + "' does not exist");
  EXPECT_EQ(provider->decrypt(call_, key->wrapped, context).error().code,
            ErrorCode::kms_key_disabled);
}

TEST_F(AwsProviderTest, AWrappingWithoutBlobOrMasterKeyAsksNobody) {
  const auto provider = make();
  EXPECT_EQ(
      provider->decrypt(call_, {.provider = "aws", .master_key_id = key_}, context).error().code,
      ErrorCode::invalid_ciphertext);
  EXPECT_EQ(provider->decrypt(call_, {.provider = "aws", .blob = {1}}, context).error().code,
            ErrorCode::invalid_ciphertext);
  EXPECT_TRUE(kms().seen().empty());
}

TEST_F(AwsProviderTest, DescribesTheStatesOfAKey) {
  const auto provider = make();
  EXPECT_TRUE(provider->describe_key(call_)->usable);
  kms().set_state(key_, "Disabled");
  EXPECT_EQ(provider->describe_key(call_)->state, "Disabled");
  EXPECT_FALSE(provider->describe_key(call_)->usable);
  kms().set_state(key_, "PendingDeletion");
  const auto info = provider->describe_key(call_);
  EXPECT_FALSE(info->usable);
  EXPECT_EQ(info->deletion_at, SystemTime(std::chrono::seconds(1'795'996'800)));
  kms().delete_key(key_);
  EXPECT_EQ(provider->describe_key(call_).error().code, ErrorCode::kms_key_disabled);
}

TEST_F(AwsProviderTest, AnAsymmetricKeyIsNotUsable) {
  kms().add_trouble({.status = 200,
                     .body = R"({"KeyMetadata":{"Arn":"a","KeyState":"Enabled",)"
                             R"("KeySpec":"RSA_2048"}})"});
  const auto info = make()->describe_key(call_);
  ASSERT_TRUE(info);
  EXPECT_FALSE(info->usable);
  EXPECT_EQ(info->state, "Enabled, of KeySpec RSA_2048 which cannot wrap data keys");
}

TEST_F(AwsProviderTest, WithoutCredentialsTheFirstCallSaysWhereItLooked) {
  world_.variables = {{"HOME", "/nonexistent/home"}, {"AWS_EC2_METADATA_DISABLED", "true"}};
  const auto key = make()->generate_data_key(call_, context);
  ASSERT_FALSE(key);
  EXPECT_EQ(key.error().code, ErrorCode::kms_access_denied);
  EXPECT_EQ(key.error().message,
            "no AWS credentials found; looked in: environment (AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY), web identity (AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN), "
            "profile 'default' of /nonexistent/home/.aws/credentials and "
            "/nonexistent/home/.aws/config, container (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, "
            "…_FULL_URI), instance metadata (AWS_EC2_METADATA_DISABLED)");
  EXPECT_TRUE(kms().seen().empty());
}

TEST_F(AwsProviderTest, AnInstanceWhoseProfileIsSetUsesNobodyElsesCredentials) {
  const TemporaryFolder folder;
  world_.variables["AWS_SHARED_CREDENTIALS_FILE"] =
      folder.write("credentials",
                   "[old-account]\naws_access_key_id = AKIAOLD\naws_secret_access_key = s\n"
                   "[empty]\nregion = eu-west-1\n");
  world_.settings["aws.kms.profile"] = "old-account";
  ASSERT_TRUE(make()->generate_data_key(call_, context));
  EXPECT_EQ(kms().seen().back().access_key_id, "AKIAOLD");

  world_.settings["aws.kms.profile"] = "empty";
  const auto refused = make()->generate_data_key(call_, context);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kms_access_denied);
  EXPECT_TRUE(refused.error().message.starts_with(
      "no AWS credentials found; looked in: profile 'empty' of "))
      << refused.error().message;
}

TEST_F(AwsProviderTest, DeniedAccessToAnotherKeySaysNothingOfTheConfiguredOne) {
  const std::string denied =
      R"({"__type":"AccessDeniedException","Message":"User: u is not authorized to perform: )"
      R"(kms:Decrypt on this resource"})";
  const auto decrypt = [&](const std::string& master_key_id) {
    kms().add_trouble({.operation = "Decrypt", .status = 400, .body = denied});
    return make()
        ->decrypt(call_, {.provider = "aws", .master_key_id = master_key_id, .blob = {1, 2, 3}},
                  context)
        .error();
  };
  const std::string other = "arn:aws:kms:us-east-1:222222222222:key/of-another-account";
  EXPECT_EQ(decrypt(key_).code, ErrorCode::kms_access_denied);
  EXPECT_EQ(decrypt(other).code, ErrorCode::wrapped_elsewhere);
  EXPECT_NE(decrypt(other).message.find("is not authorized to perform"), std::string::npos);
  // Which key is behind an alias is not known here.
  world_.settings["aws.kms.master-key-id"] = "alias/betrace";
  EXPECT_EQ(decrypt(other).code, ErrorCode::kms_access_denied);
}

TEST_F(AwsProviderTest, ExpiredCredentialsAreReplacedWithinTheCall) {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& id) {
    folder.write("credentials", "[default]\naws_access_key_id = " + id +
                                    "\naws_secret_access_key = s\naws_session_token = t-" + id +
                                    "\nregion = eu-west-3\n");
  };
  world_.variables = {{"AWS_SHARED_CREDENTIALS_FILE", folder.file("credentials")}};
  write("ASIA1");
  kms().accept("ASIA1", "s", "t-ASIA1");
  kms().accept("ASIA22", "s", "t-ASIA22");
  const auto provider = make();
  ASSERT_TRUE(provider->generate_data_key(call_, context));
  EXPECT_EQ(kms().seen().back().region, "eu-west-3");

  kms().expire("ASIA1");
  const auto refused = provider->generate_data_key(call_, context);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kms_access_denied);
  EXPECT_EQ(refused.error().type, "ExpiredTokenException");
  EXPECT_EQ(kms().seen().size(), 2u);  // the same credentials are not tried again

  write("ASIA22");
  EXPECT_TRUE(provider->generate_data_key(call_, context));
  EXPECT_EQ(kms().seen().back().session_token, "t-ASIA22");
}

TEST_F(AwsProviderTest, AnExpiredRoleSessionIsRenewedWithinTheCall) {
  const TemporaryFolder folder;
  world_.variables = {
      {"AWS_CONFIG_FILE",
       folder.write("config",
                    "[default]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\n"
                    "[profile base]\naws_access_key_id = AKIA\naws_secret_access_key = s\n")}};
  world_.aws.sts.allow({.arn = "arn:aws:iam::1:role/r",
                        .trusted_access_key_id = "AKIA",
                        .access_key_id = "ASIA",
                        .expiration = "2025-11-23T01:00:00Z"});
  kms().accept("ASIA1", "role-secret", "role&token");
  kms().accept("ASIA2", "role-secret", "role&token");
  const auto provider = make();
  ASSERT_TRUE(provider->generate_data_key(call_, context));
  kms().expire("ASIA1");
  const auto key = provider->generate_data_key(call_, context);
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_EQ(kms().seen().back().access_key_id, "ASIA2");
  EXPECT_EQ(world_.aws.sts.bodies().size(), 2u);
}

TEST_F(AwsProviderTest, AKeyOfAnotherRegionIsWarnedAboutWhenTheProviderIsMade) {
  const TemporaryFolder folder;
  ASSERT_TRUE(configure_logging({.console = false, .file = folder.file("log")}));
  world_.settings["aws.kms.region"] = "eu-west-1";
  make();
  flush_logs();
  EXPECT_NE(folder.read("log").find("names a key in region us-east-1 but aws.kms.region is "
                                    "eu-west-1"),
            std::string::npos)
      << folder.read("log");
  ASSERT_TRUE(configure_logging({}));
}

TEST_F(AwsProviderTest, DebugLinesTellRequestAndOutcomeAndNoSecret) {
  const TemporaryFolder folder;
  LogOptions options{.console = false, .file = folder.file("log")};
  options.category_levels[std::string(log_category::aws_sdk)] = "DEBUG";
  ASSERT_TRUE(configure_logging(options));
  world_.variables["AWS_SECRET_ACCESS_KEY"] = "canary-secret";
  world_.variables["AWS_SESSION_TOKEN"] = "canary-token";
  const auto provider = make();
  const auto key = provider->generate_data_key(call_, context);
  ASSERT_TRUE(key);
  ASSERT_TRUE(provider->encrypt(call_, key->plaintext.expose(), context));
  ASSERT_TRUE(provider->decrypt(call_, key->wrapped, context));
  flush_logs();
  const std::string log = folder.read("log");
  EXPECT_NE(log.find("kms GenerateDataKey: HTTP 200, request id fake-1"), std::string::npos) << log;
  EXPECT_NE(log.find("software.amazon.awssdk"), std::string::npos);
  const auto secret = key->plaintext.expose();
  for (const std::string& canary :
       {std::string("canary-secret"), std::string("canary-token"), base64_encode(secret),
        hex_encode(secret), base64_encode(key->wrapped.blob)}) {
    EXPECT_EQ(log.find(canary), std::string::npos) << canary;
  }
  ASSERT_TRUE(configure_logging({}));
}

}  // namespace
}  // namespace betrace::kms
