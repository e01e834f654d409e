#include "app/client_commands.h"

#include <gtest/gtest.h>

#include "client_fixture.h"

namespace betrace::kms {
namespace {

TEST_F(ClientCommands, SignReadsStandardInputAndPrintsBase64) {
  world_.in.str(std::string("a\0b", 3));
  world_.answer(200, R"({"keyId":"k","version":1,"algorithm":"Ed25519","signature":"AAEC"})");
  EXPECT_EQ(run({"sign", "--tenant", "ac:me"}), ExitCode::ok);
  EXPECT_EQ(out(), "AAEC\n");
  EXPECT_EQ(call().url, "http://localhost:1/api/tenants/ac%3Ame/sign");
  EXPECT_EQ(call().body, R"({"payload":"YQBi"})");
}

TEST_F(ClientCommands, SignCanPrintTheBytesOrTheAnswer) {
  const auto file = directory_.write("f", "x");
  world_.answer(200, R"({"signature":"AAEC"})");
  EXPECT_EQ(run({"sign", "-t", "a", "--raw", file}), ExitCode::ok);
  EXPECT_EQ(out(), std::string("\0\1\2", 3));
  EXPECT_EQ(run({"sign", "-t", "a", "--json", file}), ExitCode::ok);
  EXPECT_EQ(out(), std::string("\0\1\2", 3) + "{\"signature\":\"AAEC\"}\n");
}

TEST_F(ClientCommands, AFileThatCannotBeReadIsAMistakeAndNothingIsSent) {
  EXPECT_EQ(run({"sign", "-t", "a", directory_.file("none")}), ExitCode::usage);
  EXPECT_EQ(run({"sign", "-t", "a", directory_.path()}), ExitCode::usage);
  EXPECT_NE(err().find("none: No such file"), std::string::npos) << err();
  EXPECT_NE(err().find("it is a directory"), std::string::npos) << err();
  EXPECT_TRUE(world_.calls.empty());
}

TEST_F(ClientCommands, ATenantOutsideTheGrammarIsAMistakeAndNothingIsSent) {
  EXPECT_EQ(run({"sign", "-t", "a/b"}), ExitCode::usage);
  EXPECT_EQ(run({"tenants", "create", "a b"}), ExitCode::usage);
  EXPECT_TRUE(world_.calls.empty());
}

TEST_F(ClientCommands, VerifySaysValidAndInvalidByWordAndExitCode) {
  world_.answer(200, R"({"valid":true,"keyId":"k1","version":2,"keyStatus":"ACTIVE"})");
  EXPECT_EQ(run({"verify", "-t", "a", "-s", "AAEC"}), ExitCode::ok);
  EXPECT_EQ(out(), "valid (key k1, version 2)\n");
  EXPECT_EQ(call().body, R"({"payload":"","signature":"AAEC"})");
  world_.answer(200, R"({"valid":false,"keyId":"k1","version":2,"keyStatus":"ACTIVE"})");
  world_.out.str("");
  EXPECT_EQ(run({"verify", "-t", "a", "-s", "AAEC"}), ExitCode::check_failed);
  EXPECT_EQ(out(), "invalid\n");
  EXPECT_EQ(run({"verify", "-t", "a", "-s", "AAEC", "--json"}), ExitCode::check_failed);
}

TEST_F(ClientCommands, VerifyNamesAKeyThatIsNoLongerActive) {
  world_.answer(
      200, R"({"valid":true,"keyId":"k1","version":1,"keyStatus":"DEPRECATED","trusted":true})");
  EXPECT_EQ(run({"verify", "-t", "a", "-s", "AAEC"}), ExitCode::ok);
  EXPECT_EQ(out(), "valid (key k1, version 1, DEPRECATED)\n");
}

TEST_F(ClientCommands, VerifyTakesTheSignatureFromAFileInEitherForm) {
  world_.answer(200, R"({"valid":true})");
  const auto text = directory_.write("sig", "AAEC\n");
  EXPECT_EQ(run({"verify", "-t", "a", "-s", "@" + text, "--version", "3"}), ExitCode::ok);
  EXPECT_EQ(call().body, R"({"payload":"","signature":"AAEC","version":3})");
  const auto raw = directory_.write("raw", std::string(64, '\0'));
  EXPECT_EQ(run({"verify", "-t", "a", "-s", "@" + raw}), ExitCode::ok);
  EXPECT_EQ(world_.calls.at(1).body,
            R"({"payload":"","signature":")" + WipedString(std::string(86, 'A')) + R"(=="})");
}

TEST_F(ClientCommands, VerifyRefusesWhatIsNoBase64AndTwoReadersOfStandardInput) {
  EXPECT_EQ(run({"verify", "-t", "a", "-s", "not base64"}), ExitCode::usage);
  EXPECT_EQ(run({"verify", "-t", "a", "-s", "@-"}), ExitCode::usage);
  EXPECT_TRUE(world_.calls.empty());
}

TEST_F(ClientCommands, EncryptSendsTheContextCanonicallyAndPrintsTheText) {
  world_.in.str("hello");
  world_.answer(200, R"({"ciphertext":"betrace:v1:abc"})");
  EXPECT_EQ(run({"encrypt", "-t", "a", "-c", "b=\"2\"", "-c", "a=1"}), ExitCode::ok);
  EXPECT_EQ(out(), "betrace:v1:abc\n");
  EXPECT_EQ(call().body, R"({"plaintext":"aGVsbG8=","context":{"a":"1","b":"\"2\""}})");
}

TEST_F(ClientCommands, DecryptWritesTheBytesAsTheyAre) {
  world_.in.str(" betrace:v1:abc\n");
  world_.answer(200, R"({"plaintext":"aABpCg=="})");
  EXPECT_EQ(run({"decrypt", "-t", "a"}), ExitCode::ok);
  EXPECT_EQ(out(), std::string("h\0i\n", 4));
  EXPECT_EQ(call().body, R"({"ciphertext":"betrace:v1:abc"})");
  world_.in.clear();
  world_.in.str("betrace:v1:abc");
  world_.out.str("");
  EXPECT_EQ(run({"decrypt", "-t", "a", "--base64"}), ExitCode::ok);
  EXPECT_EQ(out(), "aABpCg==\n");
}

TEST_F(ClientCommands, DecryptRefusesWhatIsNoCiphertext) {
  world_.in.str("\x89PNG");
  EXPECT_EQ(run({"decrypt", "-t", "a"}), ExitCode::usage);
  EXPECT_TRUE(world_.calls.empty());
}

TEST_F(ClientCommands, AProblemIsOneLineWithItsCode) {
  world_.answer(404, R"({"title":"Not found","status":404,"detail":"no tenant 'a'\nat all",
                         "code":"tenant_not_found"})");
  EXPECT_EQ(run({"sign", "-t", "a"}), ExitCode::check_failed);
  EXPECT_EQ(err(),
            "betrace-kms: no tenant 'a' at all (tenant_not_found); "
            "or: betrace-kms tenants create a\n");
  EXPECT_TRUE(out().empty());
}

TEST_F(ClientCommands, AnAnswerCannotSteerTheTerminal) {
  world_.answer(400, R"({"detail":"a\u001b[2Jb\u009bc","code":"invalid_argument"})");
  EXPECT_EQ(run({"sign", "-t", "a"}), ExitCode::usage);
  EXPECT_EQ(err().find('\x1b'), std::string::npos);
  EXPECT_NE(err().find("\\x1b[2J"), std::string::npos) << err();
}

TEST_F(ClientCommands, ARefusalWithoutATokenSaysWhichPlaceWasLookedAt) {
  world_.variables.clear();
  world_.answer(401, R"({"detail":"a token is needed","code":"unauthenticated"})");
  EXPECT_EQ(run({"sign", "-t", "a"}), ExitCode::usage);
  EXPECT_NE(err().find("data/admin-token: No such file"), std::string::npos) << err();
}

TEST_F(ClientCommands, NobodyThereIsThree) {
  EXPECT_EQ(run({"status"}), ExitCode::unreachable);
  EXPECT_EQ(run({"health"}), ExitCode::unreachable);
  EXPECT_EQ(err(),
            "betrace-kms: cannot reach the service at http://localhost:1: connection refused\n"
            "betrace-kms: cannot reach the service at http://localhost:1: connection refused\n");
}

TEST_F(ClientCommands, SomebodyElseThereIsThreeToo) {
  for (const int status : {200, 404, 502}) {
    world_.answer(status, "<html>It works!</html>");
    EXPECT_EQ(run({"status"}), ExitCode::unreachable) << status;
    EXPECT_EQ(run({"sign", "-t", "a"}), ExitCode::unreachable) << status;
    EXPECT_EQ(run({"health"}), ExitCode::unreachable) << status;
  }
}

TEST_F(ClientCommands, HealthFollowsTheServicesWord) {
  world_.answer(200, R"({"status":"UP","checks":[{"name":"kms","status":"UP",
                         "data":{"provider":"local","latency_ms":1}}]})");
  EXPECT_EQ(run({"health", "ready"}), ExitCode::ok);
  EXPECT_EQ(call().url, "http://localhost:1/q/health/ready");
  EXPECT_EQ(out(), "UP\nkms      UP    provider=local latency_ms=1\n");
  world_.answer(503, R"({"status":"DOWN","checks":[]})");
  EXPECT_EQ(run({"health", "serving"}), ExitCode::check_failed);
  EXPECT_EQ(world_.calls.at(1).url, "http://localhost:1/q/health/group/serving");
  EXPECT_EQ(run({"health", "--json"}), ExitCode::check_failed);
  EXPECT_TRUE(err().empty());
}

TEST_F(ClientCommands, StatusFailsWhenDownOnly) {
  world_.answer(200, R"({"provider":"aws","status":"WARNING","issues":["slow"],"caches":{"a":1}})");
  EXPECT_EQ(run({"status"}), ExitCode::ok);
  EXPECT_NE(out().find("caches.a                             1\n"), std::string::npos) << out();
  EXPECT_NE(out().find("issues                               slow\n"), std::string::npos) << out();
  world_.answer(200, R"({"provider":"aws","status":"DOWN","issues":[]})");
  EXPECT_EQ(run({"status"}), ExitCode::check_failed);
}

TEST_F(ClientCommands, ValidateShowsEachTestAndFailsWithThem) {
  world_.answer(200, R"({"provider":"aws","overall":"FAIL","tests":{"describe_key":"PASS",
      "key_retrieval_cache_hit":"FAIL: no"},"latency_ms":{"describe_key":12,"cache_hit":0.061},
      "recommendations":["Add kms:Decrypt"]})");
  EXPECT_EQ(run({"validate"}), ExitCode::check_failed);
  EXPECT_EQ(call().method, "POST");
  EXPECT_NE(out().find("describe_key                         PASS (12 ms)\n"), std::string::npos)
      << out();
  EXPECT_NE(out().find("FAIL: no (0.061 ms)\n"), std::string::npos) << out();
  EXPECT_NE(out().find("- Add kms:Decrypt\n"), std::string::npos) << out();
}

TEST_F(ClientCommands, TenantsAreListedPageAfterPage) {
  world_.service = [](const HttpCall& call) -> Result<HttpAnswer> {
    const bool first = call.url.find("after") == std::string::npos;
    return HttpAnswer{.status = 200,
                      .headers = {},
                      .body = first
                                  ? R"({"tenants":[{"tenantId":"a"},{"tenantId":"b"}],"next":"b"})"
                                  : R"({"tenants":[{"tenantId":"c"}]})",
                      .phases = {}};
  };
  EXPECT_EQ(run({"tenants", "list"}), ExitCode::ok);
  EXPECT_EQ(out(), "a\nb\nc\n");
  EXPECT_EQ(world_.calls.at(1).url, "http://localhost:1/api/tenants?limit=1000&after=b");
  world_.out.str("");
  EXPECT_EQ(run({"tenants", "list", "--json"}), ExitCode::ok);
  EXPECT_EQ(out(),
            "{\"tenants\":[{\"tenantId\":\"a\"},{\"tenantId\":\"b\"},{\"tenantId\":\"c\"}]}\n");
}

TEST_F(ClientCommands, AListOfTwoAsksForTwo) {
  world_.answer(200, R"({"tenants":[{"tenantId":"a"},{"tenantId":"b"}],"next":"b"})");
  EXPECT_EQ(run({"tenants", "list", "--limit", "2", "--after", "0"}), ExitCode::ok);
  EXPECT_EQ(world_.calls.size(), 1U);
  EXPECT_EQ(call().url, "http://localhost:1/api/tenants?limit=2&after=0");
}

TEST_F(ClientCommands, PublicKeysComeAsLinesOrPem) {
  world_.answer(200, R"({"keys":[{"keyId":"k","status":"ACTIVE","createdAt":"now",
      "publicKey":"AAAA","publicKeyPem":"-----BEGIN-----\n"}]})");
  EXPECT_EQ(run({"public-keys"}), ExitCode::ok);
  EXPECT_EQ(call().url, "http://localhost:1/api/public-keys");
  EXPECT_EQ(out(), "k  ACTIVE     now  AAAA\n");
  world_.out.str("");
  EXPECT_EQ(run({"public-keys", "-t", "a", "--pem"}), ExitCode::ok);
  EXPECT_EQ(out(), "-----BEGIN-----\n");
  EXPECT_EQ(run({"public-keys", "-t", "a", "--jwks"}), ExitCode::ok);
  EXPECT_EQ(world_.calls.at(2).url, "http://localhost:1/api/tenants/a/jwks.json");
}

TEST(ExitCodes, FollowTheServicesCode) {
  EXPECT_EQ(exit_code_of(ErrorCode::invalid_argument), ExitCode::usage);
  EXPECT_EQ(exit_code_of(ErrorCode::unauthenticated), ExitCode::usage);
  EXPECT_EQ(exit_code_of(ErrorCode::not_implemented), ExitCode::usage);
  EXPECT_EQ(exit_code_of(ErrorCode::tenant_not_found), ExitCode::check_failed);
  EXPECT_EQ(exit_code_of(ErrorCode::kms_unavailable), ExitCode::check_failed);
}

}  // namespace
}  // namespace betrace::kms
