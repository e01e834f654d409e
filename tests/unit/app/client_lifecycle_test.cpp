#include <fstream>
#include <sstream>

#include "client_fixture.h"

namespace betrace::kms {
namespace {

using ClientLifecycle = ClientCommands;

const std::string key = "0193567a-7b6c-7000-8000-000000000001";
const std::string other_key = "0193567a-7b6c-7000-8000-000000000002";
const std::string tenant = R"({"tenantId":"a","createdAt":"now","keys":[
    {"keyId":")" + key + R"(","keyType":"signing","version":1,"status":"REVOKED",
     "createdAt":"then","reason":"lost"},
    {"keyId":")" + other_key +
                           R"(","keyType":"encryption","version":1,"status":"ACTIVE",
     "createdAt":"then"}]})";
const std::string revoked = R"({"tenantId":"a","revoked":{"keyId":")" + key +
                            R"(","keyType":"signing","version":1},
    "successor":{"keyId":")" +
                            other_key + R"(","keyType":"signing","version":2}})";

std::string content_of(const std::string& file) {
  std::stringstream content;
  content << std::ifstream(file, std::ios::binary).rdbuf();
  return content.str();
}

TEST_F(ClientLifecycle, RevokeNamesTheKeyAndItsSuccessor) {
  world_.answer(200, revoked);
  EXPECT_EQ(run({"revoke", "-t", "a", "--key-id", key, "--reason", "it's \"gone\""}), ExitCode::ok);
  EXPECT_EQ(call().method, "POST");
  EXPECT_EQ(call().url, "http://localhost:1/api/tenants/a/keys/" + key + "/revoke");
  EXPECT_EQ(call().body, R"({"reason":"it's \"gone\""})");
  EXPECT_EQ(call().timeout, std::chrono::seconds(150)) << "as long as a lease may be";
  EXPECT_EQ(out(), "revoked    signing version 1 (" + key + ")\nsuccessor  signing version 2 (" +
                       other_key + ")\n");
  EXPECT_EQ(run({"revoke", "-t", "a", "--key-id", key, "--reason", "x", "--timeout", "7"}),
            ExitCode::ok);
  EXPECT_EQ(world_.calls.at(1).timeout, std::chrono::seconds(7));
}

TEST_F(ClientLifecycle, RevokeFindsAVersionByItsNumber) {
  world_.answer_in_turn({{200, tenant}, {200, revoked}});
  EXPECT_EQ(run({"revoke", "-t", "a", "--version", "1", "--type", "encryption", "--reason", "x"}),
            ExitCode::ok);
  EXPECT_EQ(call().url, "http://localhost:1/api/tenants/a");
  EXPECT_EQ(world_.calls.at(1).url,
            "http://localhost:1/api/tenants/a/keys/" + other_key + "/revoke");
}

TEST_F(ClientLifecycle, AVersionThatThereIsNotIsAFailedCheck) {
  world_.answer(200, tenant);
  EXPECT_EQ(run({"revoke", "-t", "a", "--version", "2", "--type", "signing", "--reason", "x"}),
            ExitCode::check_failed);
  EXPECT_EQ(err(), "betrace-kms: tenant 'a' has no signing key of version 2\n");
  EXPECT_EQ(world_.calls.size(), 1U);
}

TEST_F(ClientLifecycle, AKeyMustBeNamed) {
  for (const auto& more : std::vector<std::vector<std::string>>{
           {}, {"--version", "1"}, {"--type", "signing"}, {"--key-id", "nonsense"}}) {
    std::vector<std::string> words = {"revoke", "-t", "a", "--reason", "x"};
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_EQ(run(words), ExitCode::usage);
  }
  EXPECT_EQ(run({"revoke", "-t", "a", "--key-id", key, "--reason", "\xff"}), ExitCode::usage);
  EXPECT_TRUE(world_.calls.empty());
}

TEST_F(ClientLifecycle, KeysAreListedWithTheReasonOfARevocation) {
  world_.answer(200, tenant);
  EXPECT_EQ(run({"keys", "list", "-t", "a"}), ExitCode::ok);
  EXPECT_EQ(out(), "signing     1   REVOKED    " + key + "  then  (lost)\n" +
                       "encryption  1   ACTIVE     " + other_key + "  then\n");
}

TEST_F(ClientLifecycle, AKeyIsDestroyedOnlyWithAYes) {
  world_.answer(200, R"({"keyId":"k","keyType":"encryption","version":1,"status":"DESTROYED"})");
  EXPECT_EQ(run({"keys", "destroy", "-t", "a", "--key-id", key, "--unused"}), ExitCode::usage);
  EXPECT_TRUE(world_.calls.empty());
  EXPECT_EQ(run({"keys", "destroy", "-t", "a", "--key-id", key, "--unused", "--yes"}),
            ExitCode::ok);
  EXPECT_EQ(call().method, "DELETE");
  EXPECT_EQ(call().url, "http://localhost:1/api/tenants/a/keys/" + key + "?unused=true");
  EXPECT_EQ(out(), "destroyed  encryption version 1 (k)\n");
  EXPECT_EQ(run({"keys", "destroy", "-t", "a", "--key-id", key, "--yes"}), ExitCode::ok);
  EXPECT_EQ(world_.calls.at(1).url, "http://localhost:1/api/tenants/a/keys/" + key);
}

const std::string destroyed =
    R"({"tenantId":"a:b","destroyedAt":"now","destroyed":{"signing":2,"encryption":3},)"
    R"("pending":false,"certificate":{"payload":"e30=","signatures":[]}})";

TEST_F(ClientLifecycle, ATenantIsDestroyedAndTheCertificateKept) {
  world_.answer(200, destroyed);
  const auto file = directory_.file("certificate");
  EXPECT_EQ(run({"tenants", "destroy", "a:b", "--confirm", "a:b", "--certificate", file}),
            ExitCode::ok);
  EXPECT_EQ(call().method, "DELETE");
  EXPECT_EQ(call().url, "http://localhost:1/api/tenants/a%3Ab?confirm=a%3Ab");
  EXPECT_EQ(out(), "a:b destroyed now: 2 signing and 3 encryption keys\n");
  EXPECT_EQ(content_of(file), "{\"payload\":\"e30=\",\"signatures\":[]}\n");
  EXPECT_EQ(err(), "");
}

TEST_F(ClientLifecycle, AWrongConfirmationDestroysNothing) {
  EXPECT_EQ(run({"tenants", "destroy", "a", "--confirm", "b"}), ExitCode::usage);
  EXPECT_NE(err().find("--confirm 'b' is not 'a'"), std::string::npos) << err();
  EXPECT_TRUE(world_.calls.empty());
}

TEST_F(ClientLifecycle, ACertificateThatCannotBeKeptIsNoticedBeforeAnythingIsDestroyed) {
  const auto file = directory_.file("none") + "/certificate";
  EXPECT_EQ(run({"tenants", "destroy", "a", "--confirm", "a", "--certificate", file}),
            ExitCode::usage);
  EXPECT_TRUE(world_.calls.empty());
}

TEST_F(ClientLifecycle, ACertificateThatIsNotReadyIsAFailedCheckAndAnEarlierOneIsKept) {
  world_.answer(200, R"({"destroyedAt":"now","destroyed":{},"pending":true,"certificate":null})");
  const auto file = directory_.write("certificate", "earlier");
  EXPECT_EQ(run({"tenants", "destroy", "a", "--confirm", "a"}), ExitCode::ok);
  EXPECT_NE(err().find("not finished"), std::string::npos) << err();
  EXPECT_EQ(run({"tenants", "destroy", "a", "--confirm", "a", "--certificate", file}),
            ExitCode::check_failed);
  EXPECT_EQ(content_of(file), "earlier");
}

TEST_F(ClientLifecycle, RewrapPrintsTheNewCiphertext) {
  world_.in.str("betrace:v1:old\n");
  world_.answer(200, R"({"ciphertext":"betrace:v1:new"})");
  EXPECT_EQ(run({"rewrap", "-t", "a", "-c", "k=v"}), ExitCode::ok);
  EXPECT_EQ(call().url, "http://localhost:1/api/tenants/a/rewrap");
  EXPECT_EQ(call().body, R"({"ciphertext":"betrace:v1:old","context":{"k":"v"}})");
  EXPECT_EQ(out(), "betrace:v1:new\n");
}

TEST_F(ClientLifecycle, DecryptAndRewrapTakeARevokedVersionOnRequestOnly) {
  for (const std::string verb : {"decrypt", "rewrap"}) {
    world_.calls.clear();
    world_.in.clear();
    world_.in.str("betrace:v1:old");
    world_.answer(200, R"({"ciphertext":"betrace:v1:new","plaintext":""})");
    EXPECT_EQ(run({verb, "-t", "a", "--allow-revoked"}), ExitCode::ok);
    EXPECT_EQ(call().url, "http://localhost:1/api/tenants/a/" + verb + "?allow_revoked=true");
  }
}

TEST_F(ClientLifecycle, VerifyDoesNotPassOverARevokedKey) {
  world_.answer(200, R"({"valid":true,"keyId":"k1","version":1,"keyStatus":"REVOKED",
      "trusted":false,"revokedAt":"2025-11-23T00:00:00.000Z",
      "revocationReason":"laptop\u001b lost"})");
  EXPECT_EQ(run({"verify", "-t", "a", "-s", "AAEC"}), ExitCode::check_failed);
  EXPECT_EQ(out(),
            "valid, but NOT TRUSTED: the key is REVOKED since 2025-11-23T00:00:00.000Z: "
            "laptop\\x1b lost (key k1, version 1)\n");
  EXPECT_EQ(run({"verify", "-t", "a", "-s", "AAEC", "--json"}), ExitCode::check_failed);
}

TEST_F(ClientLifecycle, VerifyTrustsNoRevokedKeyOfAServiceThatDoesNotSay) {
  world_.answer(200, R"({"valid":true,"keyId":"k1","version":1,"keyStatus":"REVOKED"})");
  EXPECT_EQ(run({"verify", "-t", "a", "-s", "AAEC"}), ExitCode::check_failed);
  EXPECT_EQ(out(), "valid, but NOT TRUSTED: the key is REVOKED (key k1, version 1)\n");
}

}  // namespace
}  // namespace betrace::kms
