// Application default credentials, each kind against a fake that checks what Google checks.
#include <fstream>
#include <latch>
#include <thread>

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "support/temporary_directory.h"
#include "unit/providers/gcp_world.h"

namespace betrace::kms {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

const CallContext call = CallContext::system("test");

struct GcpTokensTest : testing::Test, GcpWorld {
  TemporaryDirectory folder;

  std::string file(const std::string& name, const std::string& content) {
    const auto path = folder.path() + "/" + name;
    std::ofstream(path) << content;
    return path;
  }
  std::string outcome(Provider& its) {
    const auto described = its.describe_key(call);
    return described ? "ok" : described.error().message;
  }
  std::string used() const { return google.seen().back().header("Authorization"); }
  static std::string json_text(const std::string& text) {
    std::string out;
    for (const char c : text) out += c == '\n' ? std::string("\\n") : std::string(1, c);
    return out;
  }
  std::string service_account(const std::string& private_key) {
    return fmt::format(R"({{"type":"service_account","client_email":"kms@p.iam",)"
                       R"("private_key_id":"k1","private_key":"{}",)"
                       R"("token_uri":"https://oauth2.googleapis.com/token"}})",
                       json_text(private_key));
  }
  static constexpr const char* user = R"("type":"authorized_user","client_id":"id",)"
                                      R"("client_secret":"secret","refresh_token":"refresh")";
};

TEST_F(GcpTokensTest, AServiceAccountsKeySignsWhatGoogleChecks) {
  const auto [secret, open] = rsa_pair();
  google.accept_jwts_of("kms@p.iam", open);
  settings["gcp.kms.credentials-file"] = file("sa.json", service_account(secret));
  const auto its = provider();
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(used(), "Bearer jwt-token-1");
  google.accept_jwts_of("kms@p.iam", rsa_pair().second);
  clock.advance(minutes(61));
  EXPECT_NE(outcome(*its).find("Invalid JWT Signature."), std::string::npos);
}

TEST_F(GcpTokensTest, AreAskedForOnceAndRefreshedFiveMinutesBeforeTheyEnd) {
  variables["GOOGLE_APPLICATION_CREDENTIALS"] = file("user.json", fmt::format("{{{}}}", user));
  const auto its = provider();
  std::latch ready(64);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 64; ++i) {
      threads.emplace_back([&] {
        ready.arrive_and_wait();
        EXPECT_TRUE(its->describe_key(call));
      });
    }
  }
  EXPECT_EQ(google.count("/token"), 1U);
  clock.advance(minutes(54));
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(google.count("/token"), 1U);
  clock.advance(minutes(2));
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(used(), "Bearer user-token-2");
}

TEST_F(GcpTokensTest, ATokenThatGoogleRefusesIsReplacedOnce) {
  variables["GOOGLE_APPLICATION_CREDENTIALS"] = file("user.json", fmt::format("{{{}}}", user));
  const auto its = provider();
  EXPECT_EQ(outcome(*its), "ok");
  clock.advance(seconds(11));
  google.revoke_tokens();
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(google.count("/token"), 2U);
}

TEST_F(GcpTokensTest, AWorkloadOfAnotherCloudExchangesItsToken) {
  google.accept_subject_token("subject");
  const auto source = [&](const std::string& content, const std::string& format) {
    return fmt::format(R"({{"type":"external_account","audience":"//iam.googleapis.com/pool",)"
                       R"("subject_token_type":"urn:ietf:params:oauth:token-type:jwt",)"
                       R"("token_url":"https://sts.googleapis.com/v1/token",)"
                       R"("credential_source":{{"file":"{}"{}}}}})",
                       file("subject", content), format);
  };
  for (const auto& [content, format] :
       {std::pair<std::string, std::string>{"subject\n", ""},
        {R"({"t":"subject"})", R"(,"format":{"type":"json",)"
                               R"("subject_token_field_name":"t"})"}}) {
    settings["gcp.kms.credentials-file"] = file("external.json", source(content, format));
    EXPECT_EQ(outcome(*provider()), "ok");
    EXPECT_TRUE(used().starts_with("Bearer workload-token-")) << used();
  }
}

// The signature is botocore 1.43's, of the same request at the same second.
TEST_F(GcpTokensTest, AWorkloadInAwsProvesItselfByASignedRequestThatItDoesNotSend) {
  const std::string signature =
      "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20251123/eu-central-1/sts/aws4_request, "
      "SignedHeaders=host;x-amz-date;x-amz-security-token;x-goog-cloud-target-resource, "
      "Signature=a97cb2684e679871b6921d6a14cda98eaa78e36fde3a207c89233ce22a843285";
  const auto subject = percent_encode(
      R"({"headers":[{"key":"host","value":"sts.eu-central-1.amazonaws.com"},)"
      R"({"key":"x-amz-date","value":"20251123T000000Z"},)"
      R"({"key":"x-amz-security-token","value":"session"},)"
      R"({"key":"x-goog-cloud-target-resource","value":"//iam.googleapis.com/pool"},)"
      R"({"key":"authorization","value":")" +
      signature +
      R"("}],"method":"POST","url":"https://sts.eu-central-1.amazonaws.com)"
      R"(?Action=GetCallerIdentity&Version=2011-06-15"})");
  google.accept_subject_token(subject);
  const auto account = [&](const std::string& url) {
    return file("aws.json",
                fmt::format(R"({{"type":"external_account","audience":"//iam.googleapis.com/pool",)"
                            R"("subject_token_type":"urn:ietf:params:aws:token-type:aws4_request",)"
                            R"("token_url":"https://sts.googleapis.com/v1/token",)"
                            R"("credential_source":{{"environment_id":"aws1",)"
                            R"("regional_cred_verification_url":"{}"}}}})",
                            url));
  };
  settings["gcp.kms.credentials-file"] =
      account("https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15");
  variables = {{"AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"},
               {"AWS_SECRET_ACCESS_KEY", "secret"},
               {"AWS_SESSION_TOKEN", "session"},
               {"AWS_REGION", "eu-central-1"}};
  EXPECT_EQ(outcome(*provider()), "ok");
  EXPECT_TRUE(used().starts_with("Bearer workload-token-")) << used();

  settings["gcp.kms.credentials-file"] = account("https://elsewhere.example?Action=X");
  EXPECT_NE(outcome(*provider()).find("accepted is https://sts.{region}.amazonaws.com"),
            std::string::npos);
}

TEST_F(GcpTokensTest, AWorkloadInAwsWithoutRegionOrCredentialsIsToldWhereTheyWereLookedFor) {
  settings["gcp.kms.credentials-file"] =
      file("aws.json",
           R"({"type":"external_account","audience":"//iam.googleapis.com/pool",)"
           R"("subject_token_type":"urn:ietf:params:aws:token-type:aws4_request",)"
           R"("token_url":"https://sts.googleapis.com/v1/token","credential_source":{)"
           R"("environment_id":"aws1","regional_cred_verification_url":)"
           R"("https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"}})");
  variables = {{"AWS_EC2_METADATA_DISABLED", "true"}};
  EXPECT_NE(outcome(*provider()).find("no AWS region found: neither AWS_REGION"),
            std::string::npos);
  variables["AWS_REGION"] = "us-east-1";
  EXPECT_NE(outcome(*provider()).find("no AWS credentials found for Google's external account"),
            std::string::npos);
}

TEST_F(GcpTokensTest, AServiceAccountIsImpersonatedByAWorkloadAndByAUser) {
  const std::string url =
      "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a:generateAccessToken";
  google.accept_subject_token("subject");
  settings["gcp.kms.credentials-file"] =
      file("external.json",
           fmt::format(
               R"({{"type":"external_account","audience":"//iam.googleapis.com/pool",)"
               R"("subject_token_type":"urn:ietf:params:oauth:token-type:jwt",)"
               R"("token_url":"https://sts.googleapis.com/v1/token",)"
               R"("credential_source":{{"file":"{}"}},"service_account_impersonation_url":"{}"}})",
               file("subject", "subject"), url));
  EXPECT_EQ(outcome(*provider()), "ok");
  EXPECT_TRUE(used().starts_with("Bearer impersonated-token-")) << used();
  settings["gcp.kms.credentials-file"] =
      file("impersonated.json",
           fmt::format(R"({{"type":"impersonated_service_account","source_credentials":{{{}}},)"
                       R"("service_account_impersonation_url":"{}"}})",
                       user, url));
  EXPECT_EQ(outcome(*provider()), "ok");
  EXPECT_TRUE(used().starts_with("Bearer impersonated-token-")) << used();
}

TEST_F(GcpTokensTest, WithoutAnyFileTheMetadataServerIsAsked) {
  EXPECT_EQ(outcome(*provider()), "ok");
  EXPECT_EQ(used(), "Bearer metadata-token-1");
  EXPECT_TRUE(google.seen().front().url.starts_with("http://metadata.google.internal/"));
  variables["GCE_METADATA_HOST"] = "127.0.0.1:99";
  EXPECT_EQ(outcome(*provider()), "ok");
  EXPECT_TRUE(google.seen()[2].url.starts_with("http://127.0.0.1:99/"));
}

TEST_F(GcpTokensTest, WhoeverElseAnswersTheMetadataServersNameIsNotBelieved) {
  google.add_trouble({.path = "/computeMetadata",
                      .status = 200,
                      .body = R"({"access_token":"x","expires_in":10})"});
  EXPECT_NE(outcome(*provider()).find("answered something that is none"), std::string::npos);
}

TEST_F(GcpTokensTest, WithoutAnyCredentialsThePlacesAreNamed) {
  google.add_trouble({.path = "/computeMetadata",
                      .network = Error{.code = ErrorCode::kms_unavailable, .message = "no host"}});
  const auto described = provider()->describe_key(call);
  ASSERT_FALSE(described);
  EXPECT_EQ(described.error().code, ErrorCode::kms_access_denied);
  EXPECT_TRUE(described.error().message.starts_with("no Google credentials found: "));
}

TEST_F(GcpTokensTest, AMetadataServerThatServedAndIsSilentNowIsAnOutage) {
  const auto one = provider();
  EXPECT_EQ(outcome(*one), "ok");
  clock.advance(std::chrono::hours(2));
  google.add_trouble({.path = "/computeMetadata",
                      .network = Error{.code = ErrorCode::kms_unavailable, .message = "no host"}});
  const auto described = one->describe_key(call);
  ASSERT_FALSE(described);
  EXPECT_EQ(described.error().code, ErrorCode::kms_unavailable);
}

TEST_F(GcpTokensTest, AFileThatCannotBeUsedIsNamedWithoutItsSecrets) {
  const auto fault = [&](const std::string& content) {
    settings["gcp.kms.credentials-file"] = file("bad.json", content);
    return outcome(*provider());
  };
  EXPECT_NE(fault("{").find("it is not a JSON object"), std::string::npos);
  EXPECT_NE(fault("{}").find("type is missing"), std::string::npos);
  EXPECT_NE(fault(R"({"type":"gdch"})").find("its type is 'gdch'; accepted are"),
            std::string::npos);
  const auto weak = fault(service_account("-----BEGIN PRIVATE KEY-----\ncanary"));
  EXPECT_NE(weak.find("an RSA key of 2048 bits or more"), std::string::npos);
  EXPECT_EQ(weak.find("canary"), std::string::npos);
  EXPECT_NE(fault(R"({"type":"service_account","client_email":"a","private_key":"k",)"
                  R"("token_uri":"http://elsewhere.example/token"})")
                .find("token_uri is accepted with https:// only"),
            std::string::npos);
  EXPECT_NE(fault(R"({"type":"authorized_user","client_id":"id","client_secret":"canary",)"
                  R"("refresh_token":"canary"})")
                .find("Token has been expired or revoked."),
            std::string::npos);
}

TEST_F(GcpTokensTest, AFileThatChangesIsReadAnew) {
  settings["gcp.kms.credentials-file"] = file("user.json", fmt::format("{{{}}}", user));
  const auto its = provider();
  EXPECT_EQ(outcome(*its), "ok");
  file("user.json", fmt::format("{{{} }}", user));
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(google.count("/token"), 2U);
}

TEST(GcpSettings, NameWhatIsMissingOrWrong) {
  GcpWorld world;
  const auto refusal = [&] {
    const auto made = make_provider("gcp", world.environment());
    return made ? "accepted" : made.error().message;
  };
  EXPECT_EQ(refusal(), "accepted");
  world.settings["gcp.kms.location"] = "eu/west";
  EXPECT_EQ(refusal(), "gcp.kms.location='eu/west': accepted are 1 to 63 letters, digits and -_.:");
  world.settings.erase("gcp.kms.location");
  world.settings["gcp.kms.credentials-file"] = "/nowhere/x.json";
  EXPECT_EQ(refusal(),
            "gcp.kms.credentials-file=/nowhere/x.json: No such file or directory; accepted is a "
            "file of Google's credentials");
  world.settings.erase("gcp.kms.credentials-file");
  world.settings.erase("gcp.kms.project-id");
  EXPECT_TRUE(refusal().starts_with("gcp.kms.project-id is not set"));
  world.variables["GOOGLE_CLOUD_PROJECT"] = "p";
  EXPECT_EQ(refusal(), "accepted");
}

}  // namespace
}  // namespace betrace::kms
