// How the vault provider logs in, and stays so.
#include <fstream>
#include <latch>
#include <thread>

#include <gtest/gtest.h>

#include "support/temporary_directory.h"
#include "unit/providers/vault_world.h"

namespace betrace::kms {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

const CallContext call = CallContext::system("test");

struct VaultTokensTest : testing::Test, VaultWorld {
  TemporaryDirectory folder;

  std::string file(const std::string& name, const std::string& content) {
    const auto path = folder.path() + "/" + name;
    std::ofstream(path) << content;
    return path;
  }
  std::string outcome(Provider& its) {
    const auto described = its.describe_key(call);
    return described ? "ok" : std::string(to_string(described.error().code));
  }
  std::string last_token() const { return vault.seen().back().header("X-Vault-Token"); }
  void use_approle() {
    settings["vault.role-id"] = "r";
    settings["vault.secret-id"] = "s";
    vault.accept_login("approle", R"({"role_id":"r","secret_id":"s"})", minutes(30), minutes(60));
  }
};

TEST_F(VaultTokensTest, AGivenTokenIsLookedUpOnceAndRenewedBeforeItEnds) {
  vault.accept_token("t", minutes(60));
  settings["vault.token"] = "t";
  const auto its = provider();
  EXPECT_EQ(outcome(*its), "ok");
  clock.advance(minutes(54));
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(vault.count("renew-self"), 0U);
  clock.advance(minutes(2));
  for (int hour = 0; hour < 10; ++hour) {
    EXPECT_EQ(outcome(*its), "ok") << hour;
    clock.advance(minutes(56));
  }
  EXPECT_EQ(vault.count("lookup-self"), 1U);
  EXPECT_EQ(vault.count("renew-self"), 10U);
}

TEST_F(VaultTokensTest, AGivenTokenThatReachesItsLongestLifeIsNotRenewedForEveryCall) {
  vault.accept_token("t", minutes(60), minutes(70));
  settings["vault.token"] = "t";
  const auto its = provider();
  EXPECT_EQ(outcome(*its), "ok");
  clock.advance(minutes(56));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(vault.count("renew-self"), 1U);
  clock.advance(minutes(15));
  EXPECT_EQ(outcome(*its), "kms_access_denied");
}

TEST_F(VaultTokensTest, ATokenOfAFileIsReadAnewWhenTheFileChanges) {
  vault.accept_token("one");
  vault.accept_token("two");
  settings["vault.token-file"] = file("token", "one\n");
  const auto its = provider();
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(last_token(), "one");
  file("token", "two!");
  EXPECT_EQ(outcome(*its), "kms_access_denied");
  file("token", "two");
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(last_token(), "two");
  EXPECT_EQ(vault.count("renew-self"), 0U) << "whoever writes the file renews it";
}

TEST_F(VaultTokensTest, AFileThatWasReadWhileItWasWrittenIsReadAnewOnceTheOldTokenIsRefused) {
  vault.accept_token("one");
  vault.accept_token("two");
  settings["vault.token-file"] = file("token", "one");
  const auto its = provider();
  EXPECT_EQ(outcome(*its), "ok");
  file("token", "");
  EXPECT_EQ(outcome(*its), "ok") << "the present one goes on";
  vault.revoke_token("one");
  EXPECT_EQ(outcome(*its), "kms_access_denied");
  file("token", "two");
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(last_token(), "two");
}

TEST_F(VaultTokensTest, AnAppRoleLogsInOnceAndAgainWhenItsTokenNearsTheEndOfItsLongestLife) {
  use_approle();
  const auto its = provider();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(vault.count("approle/login"), 1U);
  clock.advance(minutes(26));
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(vault.count("renew-self"), 1U);
  EXPECT_EQ(vault.count("approle/login"), 1U);
  clock.advance(minutes(26));
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(vault.count("approle/login"), 2U);
  EXPECT_EQ(last_token(), "login-token-2");
}

TEST_F(VaultTokensTest, ATokenThatWasRevokedIsReplacedByALogIn) {
  use_approle();
  const auto its = provider();
  EXPECT_EQ(outcome(*its), "ok");
  clock.advance(seconds(11));
  vault.revoke_token("login-token-1");
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(vault.count("approle/login"), 2U);
}

TEST_F(VaultTokensTest, SixtyFourCallersWhoseTokenWasRevokedShareOneLogIn) {
  use_approle();
  const auto its = provider();
  EXPECT_EQ(outcome(*its), "ok");
  clock.advance(seconds(11));
  vault.revoke_token("login-token-1");
  std::latch ready(64);
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 64; ++i) {
      threads.emplace_back([&] {
        ready.arrive_and_wait();
        if (its->describe_key(call)) ++good;
      });
    }
  }
  EXPECT_EQ(good, 64);
  EXPECT_EQ(vault.count("approle/login"), 2U);
}

TEST_F(VaultTokensTest, ATokenThatEndedIsReplacedThoughTheClockWasSetBack) {
  use_approle();
  const auto its = provider();
  EXPECT_EQ(outcome(*its), "ok");
  clock.step(-std::chrono::hours(1));
  vault.revoke_token("login-token-1");
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(vault.count("approle/login"), 2U);
}

TEST_F(VaultTokensTest, APolicyThatRefusesCausesNoStormOfLogIns) {
  use_approle();
  vault.deny("transit/keys/master");
  const auto its = provider();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(outcome(*its), "kms_access_denied");
  EXPECT_EQ(vault.count("approle/login"), 1U);
  clock.advance(seconds(11));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(outcome(*its), "kms_access_denied");
  EXPECT_EQ(vault.count("approle/login"), 2U);
}

TEST_F(VaultTokensTest, SixtyFourCallersShareOneLogIn) {
  use_approle();
  const auto its = provider();
  std::latch ready(64);
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 64; ++i) {
      threads.emplace_back([&] {
        ready.arrive_and_wait();
        if (its->describe_key(call)) ++good;
      });
    }
  }
  EXPECT_EQ(good, 64);
  EXPECT_EQ(vault.count("approle/login"), 1U);
}

TEST_F(VaultTokensTest, WhileVaultDoesNotAnswerTheTokenThatStillLivesGoesOn) {
  use_approle();
  const auto its = provider();
  EXPECT_EQ(outcome(*its), "ok");
  clock.advance(minutes(26));
  vault.add_trouble({.path = "auth/", .status = 503, .times = 2});
  EXPECT_EQ(outcome(*its), "ok");
  EXPECT_EQ(vault.count("approle/login"), 2U) << "the renewal failed, and so did the log-in";
}

TEST_F(VaultTokensTest, KubernetesShowsTheServiceAccountsTokenReadAtEachLogIn) {
  settings["vault.k8s.role"] = "kms";
  settings["vault.k8s.token-file"] = file("jwt", "jwt-1\n");
  vault.accept_login("kubernetes", R"({"role":"kms","jwt":"jwt-1"})", minutes(30));
  const auto its = provider();
  EXPECT_EQ(outcome(*its), "ok");
  file("jwt", "jwt-2\n");
  vault.accept_login("kubernetes", R"({"role":"kms","jwt":"jwt-2"})", minutes(30));
  vault.revoke_token("login-token-1");
  clock.advance(seconds(11));
  EXPECT_EQ(outcome(*its), "ok");
}

TEST_F(VaultTokensTest, ACertificateLogsInUnderTheMountThatIsSet) {
  settings["vault.client-certificate"] = file("c.pem", "certificate");
  settings["vault.client-key"] = file("k.pem", "key");
  settings["vault.auth.mount"] = "certs/kms";
  settings["vault.cert.role"] = "web";
  vault.accept_login("certs/kms", R"({"name":"web"})", minutes(30));
  EXPECT_EQ(outcome(*provider()), "ok");
}

TEST_F(VaultTokensTest, ALogInThatIsRefusedIsADenialAndShowsNoSecret) {
  use_approle();
  settings["vault.secret-id"] = "wrong-secret";
  const auto described = provider()->describe_key(call);
  ASSERT_FALSE(described);
  EXPECT_EQ(described.error().code, ErrorCode::kms_access_denied);
  EXPECT_EQ(described.error().message,
            "Failed to log in to Vault by approle: invalid role or secret ID (HTTP 400)");
}

TEST_F(VaultTokensTest, AFileThatIsNotThereIsNamed) {
  settings["vault.token-file"] = folder.path() + "/missing";
  const auto described = provider()->describe_key(call);
  ASSERT_FALSE(described);
  EXPECT_EQ(described.error().code, ErrorCode::kms_access_denied);
  EXPECT_EQ(described.error().message,
            "vault.token-file=" + folder.path() + "/missing: No such file or directory");
}

TEST_F(VaultTokensTest, ALifeThatNoServerGivesIsCutToOneThatFitsATime) {
  settings["vault.token"] = "t";
  vault.accept_token("t");
  for (const auto* ttl : {"1e300", "-1e300", "9007199254740991", "0.001"}) {
    vault.add_trouble({.path = "lookup-self",
                       .status = 200,
                       .body = fmt::format(R"({{"data":{{"ttl":{},"renewable":true}}}})", ttl)});
    EXPECT_EQ(outcome(*provider()), "ok") << ttl;
  }
}

std::string refusal(VaultWorld& world) {
  const auto made = make_provider("vault", world.environment());
  if (made) return "accepted";
  EXPECT_EQ(made.error().code, ErrorCode::invalid_argument);
  return made.error().message;
}

TEST(VaultSettings, NameWhatIsMissingOrWrong) {
  VaultWorld world;
  EXPECT_NE(refusal(world).find("set one of vault.token"), std::string::npos);
  world.settings["vault.token"] = "t";
  EXPECT_EQ(refusal(world), "accepted");
  world.settings["vault.role-id"] = "r";
  EXPECT_EQ(refusal(world),
            "vault.token and vault.role-id are set, and one log-in is accepted: leave one, or "
            "choose by vault.auth.method");
  world.settings["vault.auth.method"] = "approle";
  EXPECT_EQ(refusal(world), "accepted");
  world.settings["vault.auth.method"] = "kubernetes";
  EXPECT_EQ(refusal(world), "vault.auth.method=kubernetes needs vault.k8s.role");
  world.settings["vault.auth.method"] = "cert";
  EXPECT_EQ(refusal(world),
            "vault.auth.method=cert needs vault.client-certificate and vault.client-key");
  world.settings["vault.auth.method"] = "ldap";
  EXPECT_EQ(refusal(world),
            "vault.auth.method='ldap': accepted are token, approle, kubernetes, cert");
  world.settings["vault.auth.method"] = "token";
  world.settings["vault.transit.key-name"] = "a/b";
  EXPECT_EQ(refusal(world), "vault.transit.key-name='a/b': accepted are letters, digits and -_.");
  world.settings["vault.transit.key-name"] = "master";
  for (const auto* key : {"vault.ca-file", "vault.client-certificate", "vault.client-key"}) {
    world.settings[key] = "/nowhere/x.pem";
    EXPECT_EQ(refusal(world), std::string(key) +
                                  "=/nowhere/x.pem: No such file or directory; "
                                  "accepted is a PEM file");
    world.settings.erase(key);
  }
  world.settings["vault.cluster"] = "a:b";
  EXPECT_EQ(refusal(world), "vault.cluster='a:b': accepted are letters, digits and -_.");
  world.settings.erase("vault.cluster");
  world.settings["vault.addr"] = "vault:8200";
  EXPECT_TRUE(refusal(world).starts_with("vault.addr='vault:8200': accepted is http://"));
}

}  // namespace
}  // namespace betrace::kms
