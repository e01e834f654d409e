#include "app/daemon_client.h"

#include <gtest/gtest.h>

#include "fake_world.h"
#include "support/temporary_directory.h"

namespace betrace::kms {
namespace {

class FindService : public testing::Test {
 protected:
  LocalServiceReader reader() {
    return [this]() -> Result<LocalService> {
      ++reads_;
      return local_;
    };
  }
  Result<Connection> find(const ConnectionOptions& options = {}) {
    return find_service(options, world_.world(), reader());
  }
  void write_token(std::string_view token) { directory_.write("admin-token", token); }

  TemporaryDirectory directory_;
  FakeWorld world_;
  LocalService local_{.host = "127.0.0.1",
                      .port = 8080,
                      .ssl_port = 8443,
                      .insecure_allowed = true,
                      .certificate_file = {},
                      .data_dir = directory_.path(),
                      .admin_token = {}};
  int reads_ = 0;
};

TEST_F(FindService, TheConfigurationSaysWhereAndTheTokenFileWho) {
  write_token("from-file\n");
  local_.port = 8099;
  const auto found = find();
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->url, "http://127.0.0.1:8099");
  EXPECT_EQ(found->token, "from-file");
}

TEST_F(FindService, TheOptionWinsOverTheVariableAndThatOverTheConfiguration) {
  world_.variables["BETRACE_KMS_URL"] = "http://localhost:2/";
  EXPECT_EQ(find()->url, "http://localhost:2");
  EXPECT_EQ(find({.url = "http://localhost:1", .token_file = {}, .ca_file = {}})->url,
            "http://localhost:1");
  world_.variables["BETRACE_KMS_URL"] = "";
  EXPECT_EQ(find()->url, "http://127.0.0.1:8080");
}

TEST_F(FindService, TokenFileWinsOverTheVariableAndThatOverTheConfiguration) {
  write_token("from-data-dir");
  EXPECT_EQ(find()->token, "from-data-dir");
  local_.admin_token = "configured";
  EXPECT_EQ(find()->token, "configured");
  world_.variables["ADMIN_TOKEN"] = "from-variable";
  EXPECT_EQ(find()->token, "from-variable");
  const auto file = directory_.write("mine", "from-option\n");
  EXPECT_EQ(find({.url = {}, .token_file = file, .ca_file = {}})->token, "from-option");
}

TEST_F(FindService, NothingIsReadWhenAllIsGiven) {
  world_.variables["ADMIN_TOKEN"] = "t";
  world_.variables["BETRACE_KMS_URL"] = "https://kms.example.com";
  EXPECT_TRUE(find());
  EXPECT_EQ(reads_, 0);
}

TEST_F(FindService, AMissingTokenFileIsNamedAndNoError) {
  const auto found = find();
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->token.empty());
  EXPECT_NE(found->token_trouble.find(directory_.file("admin-token")), std::string::npos);
}

TEST_F(FindService, ATokenFileThatWasAskedForMustBeThere) {
  const auto found = find({.url = {}, .token_file = directory_.file("none"), .ca_file = {}});
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().message.find(directory_.file("none")), std::string::npos);
}

TEST_F(FindService, TheLocalTokenGoesToThisMachineOnly) {
  write_token("secret-of-this-machine");
  for (const std::string url :
       {"http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://127.9.9.9"}) {
    EXPECT_FALSE(find({.url = url, .token_file = {}, .ca_file = {}})->token.empty()) << url;
  }
  for (const std::string url : {"http://kms.example.com:8080", "https://10.0.0.1",
                                "http://localhost.example.com", "http://[::2]:1"}) {
    const auto found = find({.url = url, .token_file = {}, .ca_file = {}});
    EXPECT_TRUE(found->token.empty()) << url;
    EXPECT_NE(found->token_trouble.find("--token-file"), std::string::npos);
  }
  local_.host = "10.0.0.1";
  EXPECT_FALSE(find({.url = "https://10.0.0.1:9", .token_file = {}, .ca_file = {}})->token.empty());
}

TEST_F(FindService, WithoutPlainHttpItGoesByTlsAndTrustsTheServersOwnCertificate) {
  local_.insecure_allowed = false;
  local_.certificate_file = "/etc/tls.pem";
  EXPECT_EQ(find()->url, "https://127.0.0.1:8443");
  EXPECT_EQ(find()->ca_file, "/etc/tls.pem");
  EXPECT_EQ(find({.url = {}, .token_file = {}, .ca_file = "/ca.pem"})->ca_file, "/ca.pem");
}

TEST_F(FindService, AddressesThatAreNoneAreRefused) {
  for (const std::string url :
       {"localhost:8080", "ftp://x", "http://", "http://a@b", "http://a?b", "https://a b"}) {
    const auto found = find({.url = url, .token_file = {}, .ca_file = {}});
    ASSERT_FALSE(found) << url;
    EXPECT_NE(found.error().message.find("--url"), std::string::npos);
  }
}

TEST_F(FindService, AVariableThatCannotBeATokenIsRefusedWithoutShowingIt) {
  world_.variables["ADMIN_TOKEN"] = "hush\r\nX-Evil: 1";
  const auto found = find();
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().message.find("hush"), std::string::npos);
}

TEST_F(FindService, ABrokenConfigurationMattersOnlyWhereItIsNeeded) {
  const LocalServiceReader broken = []() -> Result<LocalService> {
    return fail(ErrorCode::invalid_argument, "application.properties:3: nonsense");
  };
  EXPECT_FALSE(find_service({}, world_.world(), broken));
  const auto found = find_service({.url = "http://localhost:1", .token_file = {}, .ca_file = {}},
                                  world_.world(), broken);
  ASSERT_TRUE(found);
  EXPECT_NE(found->token_trouble.find("nonsense"), std::string::npos);
}

TEST(LocalUrl, ReachesAWildcardThroughLoopback) {
  LocalService service;
  service.host = "0.0.0.0";
  EXPECT_EQ(local_url(service), "http://127.0.0.1:8080");
  service.host = "::";
  EXPECT_EQ(local_url(service), "http://[::1]:8080");
  service.host = "::1";
  EXPECT_EQ(local_url(service), "http://[::1]:8080");
  service.insecure_allowed = false;
  service.host = "0.0.0.0";
  EXPECT_EQ(local_url(service), "https://localhost:8443");
}

TEST(DaemonClient, SendsTheTokenAndSaysWhereNobodyAnswers) {
  FakeWorld world;
  const DaemonClient client(
      {.url = "http://localhost:1", .ca_file = "ca", .token = "t0k", .token_trouble = {}},
      world.world().http_client(), std::chrono::seconds(3));
  const auto answer = client.send("PUT", "/api/tenants/acme");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().message,
            "cannot reach the service at http://localhost:1: connection refused");
  ASSERT_EQ(world.calls.size(), 1U);
  const auto& call = world.calls.front();
  EXPECT_EQ(call.method, "PUT");
  EXPECT_EQ(call.url, "http://localhost:1/api/tenants/acme");
  EXPECT_EQ(call.ca_file, "ca");
  EXPECT_EQ(call.timeout, std::chrono::seconds(3));
  const auto authorization = std::pair<std::string, std::string>("Authorization", "Bearer t0k");
  EXPECT_NE(std::find(call.headers.begin(), call.headers.end(), authorization), call.headers.end());
}

}  // namespace
}  // namespace betrace::kms
