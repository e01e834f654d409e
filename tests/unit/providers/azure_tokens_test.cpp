// How the azure provider logs in, each way against a fake that checks what Azure checks.
#include "providers/azure_tokens.h"

#include <fstream>
#include <latch>
#include <thread>

#include <gtest/gtest.h>

#include "support/temporary_directory.h"
#include "unit/providers/azure_world.h"

namespace betrace::kms {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

const CallContext call = CallContext::system("test");

struct AzureTokensTest : testing::Test, AzureWorld {
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
  std::string used() const { return azure.seen().back().header("Authorization"); }
};

TEST_F(AzureTokensTest, ASecretBuysATokenForWhomTheVaultNames) {
  settings["azure.keyvault.client-id"] = "app";
  settings["azure.keyvault.client-secret"] = "secret";
  EXPECT_EQ(outcome(*provider()), "ok");
  EXPECT_EQ(used(), "Bearer secret-token-1");
  EXPECT_FALSE(azure.seen().front().url.contains("login"));
  settings["azure.keyvault.client-secret"] = "canary";
  const auto refused = outcome(*provider());
  EXPECT_NE(refused.find("AADSTS7000215"), std::string::npos);
  EXPECT_EQ(refused.find("canary"), std::string::npos);
}

TEST_F(AzureTokensTest, ACertificateSignsAnAssertion) {
  const auto principal = make_certified_key();
  azure.accept_certificate(principal.certificate);
  variables = {{"AZURE_CLIENT_ID", "app"},
               {"AZURE_CLIENT_CERTIFICATE_PATH", file("sp.pem", principal.both)}};
  EXPECT_EQ(outcome(*provider()), "ok");
  EXPECT_EQ(used(), "Bearer assertion-token-1");
  file("sp.pem", make_certified_key().both);
  EXPECT_NE(outcome(*provider()).find("HTTP 401"), std::string::npos);
  file("sp.pem", principal.certificate);
  EXPECT_NE(outcome(*provider()).find("an RSA key of 2048 bits or more"), std::string::npos);
}

TEST_F(AzureTokensTest, AWorkloadsTokenIsReadAtEachLogIn) {
  azure.accept_assertion("one");
  variables = {{"AZURE_CLIENT_ID", "app"},
               {"AZURE_TENANT_ID", std::string(FakeAzure::tenant)},
               {"AZURE_FEDERATED_TOKEN_FILE", file("token", "one\n")}};
  const auto its = provider();
  EXPECT_EQ(outcome(*its), "ok");
  azure.accept_assertion("another");
  file("token", "another\n");
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(used(), "Bearer assertion-token-2");
}

TEST_F(AzureTokensTest, AManagedIdentityAsksTheInstancesMetadataService) {
  settings["azure.keyvault.client-id"] = "one of several";
  EXPECT_EQ(outcome(*provider()), "ok");
  EXPECT_EQ(used(), "Bearer imds-token-1");
  EXPECT_EQ(azure.seen()[1].url,
            "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01"
            "&resource=https%3A%2F%2Fvault.azure.net&client_id=one%20of%20several");
}

TEST_F(AzureTokensTest, OfAppServiceItAsksThat) {
  variables = {{"IDENTITY_ENDPOINT", "http://127.0.0.1:41/msi/token"},
               {"IDENTITY_HEADER", "canary-identity-header"}};
  EXPECT_EQ(outcome(*provider()), "ok");
  EXPECT_EQ(used(), "Bearer app-token-1");
}

TEST_F(AzureTokensTest, WithoutAnyCredentialsThePlacesAreNamed) {
  azure.add_trouble({.path = "/metadata/",
                     .network = Error{.code = ErrorCode::kms_timeout, .message = "timed out"}});
  EXPECT_TRUE(outcome(*provider()).starts_with("no Azure credentials found: "));
}

TEST_F(AzureTokensTest, AMetadataServiceThatIsBusyIsNoLackOfCredentials) {
  for (const int status : {404, 410, 429, 500, 503}) {
    azure.add_trouble({.path = "/metadata/", .status = status, .headers = {{"retry-after", "3"}}});
    const auto described = provider()->describe_key(call);
    ASSERT_FALSE(described);
    EXPECT_EQ(to_string(described.error().code), to_string(ErrorCode::kms_unavailable)) << status;
    EXPECT_EQ(described.error().throttled, status == 429);
    EXPECT_EQ(described.error().retry_after, seconds(3));
  }
  azure.add_trouble({.path = "/metadata/",
                     .status = 400,
                     .body = R"({"error":"invalid_request","error_description":)"
                             R"("Identity not found"})"});
  const auto described = provider()->describe_key(call);
  EXPECT_EQ(described.error().code, ErrorCode::kms_access_denied);
  EXPECT_TRUE(described.error().message.ends_with("HTTP 400, Identity not found"));
}

TEST_F(AzureTokensTest, AMetadataServiceThatAnsweredOnceIsOnlyAway) {
  const auto its = provider();
  EXPECT_EQ(outcome(*its), "ok");
  clock.advance(minutes(70));
  azure.add_trouble({.path = "/metadata/",
                     .network = Error{.code = ErrorCode::kms_timeout, .message = "timed out"}});
  const auto described = its->describe_key(call);
  ASSERT_FALSE(described);
  EXPECT_EQ(described.error().code, ErrorCode::kms_timeout);
  EXPECT_EQ(outcome(*its), "ok");
}

TEST_F(AzureTokensTest, TheEndpointOfAppServiceCountsOnlyWithItsHeader) {
  variables = {{"IDENTITY_ENDPOINT", "http://localhost:40342/metadata/identity/oauth2/token"}};
  EXPECT_EQ(outcome(*provider()), "ok");
  EXPECT_TRUE(azure.seen()[1].url.starts_with("http://169.254.169.254/"));
}

TEST_F(AzureTokensTest, OfSeveralLogInsTheFirstInAzuresOrderIsTaken) {
  const auto principal = make_certified_key();
  azure.accept_certificate(principal.certificate);
  azure.accept_assertion("federated");
  variables = {{"AZURE_CLIENT_ID", "app"},
               {"AZURE_CLIENT_SECRET", "secret"},
               {"AZURE_CLIENT_CERTIFICATE_PATH", file("sp.pem", principal.both)},
               {"AZURE_FEDERATED_TOKEN_FILE", file("token", "federated")},
               {"IDENTITY_ENDPOINT", "http://127.0.0.1:41/msi/token"},
               {"IDENTITY_HEADER", "canary-identity-header"}};
  const auto form = [&] {
    EXPECT_EQ(outcome(*provider()), "ok");
    return azure.seen()[azure.seen().size() - 2].body;
  };
  EXPECT_TRUE(form().contains("client_secret=secret"));
  variables.erase("AZURE_CLIENT_SECRET");
  EXPECT_TRUE(form().contains("client_assertion=ey"));
  variables.erase("AZURE_CLIENT_CERTIFICATE_PATH");
  EXPECT_TRUE(form().contains("client_assertion=federated"));
  variables.erase("AZURE_FEDERATED_TOKEN_FILE");
  EXPECT_EQ(form(), "");
  EXPECT_EQ(used(), "Bearer app-token-4");
  // A further instance's settings against its process' variables.
  variables["AZURE_CLIENT_SECRET"] = "of the first instance";
  settings["azure.keyvault.federated-token-file"] = folder.path() + "/token";
  EXPECT_TRUE(form().contains("client_assertion=federated"));
}

TEST_F(AzureTokensTest, AVaultThatMovedToAnotherTenantIsFollowed) {
  settings["azure.keyvault.client-id"] = "app";
  settings["azure.keyvault.client-secret"] = "secret";
  const auto its = provider();
  EXPECT_EQ(outcome(*its), "ok");
  azure.move_to("22222222-2222-2222-2222-222222222222");
  clock.advance(seconds(11));
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(azure.count("/22222222-2222-2222-2222-222222222222/oauth2/v2.0/token"), 1U);
}

TEST_F(AzureTokensTest, AnAnswerThatIsNoTokenIsSaidWithoutItsContent) {
  for (const auto* body :
       {"{}", R"({"access_token":"canary"})", "canary", R"({"access_token":"","expires_in":60})",
        R"({"access_token":"canary","expires_in":1e300})",
        R"({"access_token":"canary","expires_in":"soon"})"}) {
    azure.add_trouble({.path = "/metadata/", .status = 200, .body = body});
    const auto described = provider()->describe_key(call);
    ASSERT_FALSE(described) << body;
    EXPECT_EQ(described.error().code, ErrorCode::kms_unavailable);
    EXPECT_EQ(described.error().message.find("canary"), std::string::npos);
  }
}

TEST_F(AzureTokensTest, WhatIsNoKeyVaultIsGivenNothing) {
  for (const int status : {200, 401, 404}) {
    azure.add_trouble({.path = "/keys/master", .status = status});
    EXPECT_TRUE(outcome(*provider()).contains("it is no key vault")) << status;
  }
  EXPECT_EQ(azure.count("/metadata/"), 0U);
}

TEST_F(AzureTokensTest, AreAskedForOnceAndAnewWhenRefused) {
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
  EXPECT_EQ(azure.count("/metadata/"), 1U);
  clock.advance(seconds(11));
  azure.revoke_tokens();
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(azure.count("/metadata/"), 2U);
  clock.advance(minutes(55));
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(azure.count("/metadata/"), 3U);
}

TEST_F(AzureTokensTest, AVaultThatAsksForAnothersTokenGetsNone) {
  azure.ask_for("https://graph.microsoft.com");
  EXPECT_EQ(outcome(*provider()),
            "https://acme.vault.azure.net asks for a token for https://graph.microsoft.com, which "
            "is not its own: it gets none");
  EXPECT_EQ(azure.count("/metadata/"), 0U);
}

TEST(AzureChallenge, IsReadAndHeldAgainstTheVault) {
  const auto read =
      parse_azure_challenge(R"(Bearer authorization="https://login.windows.net/T-1", )"
                            R"(resource="https://vault.azure.net")");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->tenant, "T-1");
  EXPECT_EQ(read->resource, "https://vault.azure.net");
  EXPECT_EQ(parse_azure_challenge(R"(Bearer authorization="https://l/T/x", scope="https://)"
                                  R"(managedhsm.azure.net/.default")")
                ->resource,
            "https://managedhsm.azure.net");
  for (const auto* header : {"", "Basic realm=\"x\"", "Bearer", "Bearer authorization=\"\"",
                             "Bearer authorization=\"https://l\", resource=\"https://r\""}) {
    EXPECT_FALSE(parse_azure_challenge(header)) << header;
  }
  EXPECT_TRUE(is_of_vault("https://vault.azure.net", "https://a.vault.azure.net"));
  EXPECT_TRUE(is_of_vault("https://vault.azure.net", "https://127.0.0.1:8443"));
  EXPECT_FALSE(is_of_vault("https://vault.azure.net", "https://evilvault.azure.net.example"));
  EXPECT_FALSE(is_of_vault("https://vault.azure.net", "https://evilvault.azure.net"));
  EXPECT_FALSE(is_of_vault("https://azure.net.example", "https://a.vault.azure.net"));
  EXPECT_FALSE(is_of_vault("", "https://a.vault.azure.net"));
  EXPECT_FALSE(is_of_vault("https://vault.azure.net", "https://127.0.0.1.example.com"));
}

TEST(AzureSettings, NameWhatIsMissingOrWrong) {
  AzureWorld world;
  const auto refusal = [&] {
    const auto made = make_provider("azure", world.environment());
    return made ? "accepted" : made.error().message;
  };
  EXPECT_EQ(refusal(), "accepted");
  world.settings["azure.keyvault.uri"] = "http://acme.vault.azure.net";
  EXPECT_EQ(refusal(), "azure.keyvault.uri='http://acme.vault.azure.net': accepted is https://");
  world.settings["azure.keyvault.uri"] = "http://127.0.0.1:1";
  EXPECT_EQ(refusal(), "accepted");
  world.settings["azure.keyvault.key-name"] = "a_b";
  EXPECT_EQ(refusal(),
            "azure.keyvault.key-name='a_b': accepted are 1 to 127 letters, digits and -");
  world.settings["azure.keyvault.key-name"] = std::string(128, 'k');
  EXPECT_TRUE(refusal().contains("1 to 127 letters"));
  world.settings.erase("azure.keyvault.key-name");
  for (const std::string key :
       {"azure.keyvault.ca-file", "azure.keyvault.client-certificate-file"}) {
    world.settings[key] = "/nowhere/x.pem";
    EXPECT_TRUE(refusal().starts_with(key + "=/nowhere/x.pem: No such file")) << refusal();
    world.settings.erase(key);
  }
  for (const auto* uri : {"http://localhost.example.com", "http://127.example.com"}) {
    world.settings["azure.keyvault.uri"] = uri;
    EXPECT_TRUE(refusal().ends_with("accepted is https://")) << uri;
  }
  world.settings["azure.keyvault.uri"] = "https://acme.vault.azure.net/keys/master";
  EXPECT_TRUE(refusal().ends_with("the key goes into azure.keyvault.key-name"));
  world.settings["azure.keyvault.uri"] = "https://acme.vault.azure.net";
  world.settings["azure.keyvault.tenant-id"] = "a/b";
  EXPECT_TRUE(refusal().starts_with("azure.keyvault.tenant-id='a/b': accepted is"));
  world.settings.erase("azure.keyvault.tenant-id");
  world.variables["AZURE_AUTHORITY_HOST"] = "http://login.example.com";
  EXPECT_TRUE(refusal().starts_with("AZURE_AUTHORITY_HOST='http://login.example.com': accepted"));
  world.variables.clear();
  world.settings["azure.keyvault.client-secret"] = "canary";
  EXPECT_TRUE(refusal().starts_with("azure.keyvault.client-id is not set"));
  world.settings.erase("azure.keyvault.uri");
  EXPECT_TRUE(refusal().starts_with("azure.keyvault.uri is not set"));
}

TEST(AzureSettings, SendSecretsToTheAuthorityOfTheVaultsCloud) {
  AzureWorld world;
  const auto authority = [&](const std::string& uri) {
    world.settings["azure.keyvault.uri"] = uri;
    return read_azure_settings(world.environment())->authority;
  };
  EXPECT_EQ(authority("https://a.vault.azure.net"), "https://login.microsoftonline.com");
  EXPECT_EQ(authority("https://a.managedhsm.azure.net"), "https://login.microsoftonline.com");
  EXPECT_EQ(authority("https://a.vault.usgovcloudapi.net"), "https://login.microsoftonline.us");
  EXPECT_EQ(authority("https://a.vault.azure.cn"), "https://login.partner.microsoftonline.cn");
  world.variables["AZURE_AUTHORITY_HOST"] = "login.example.com";
  EXPECT_EQ(authority("https://a.vault.azure.net"), "https://login.example.com");
}

}  // namespace
}  // namespace betrace::kms
