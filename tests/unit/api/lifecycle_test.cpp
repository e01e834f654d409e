#include <string>

#include "support/api_world.h"

namespace betrace::kms {
namespace {

using std::chrono_literals::operator""s;

const std::string key = "0193567a-7b6c-7000-8000-000000000001";
const std::string revoke_path = "/api/tenants/acme/keys/" + key + "/revoke";

class Lifecycle : public testing::Test {
 protected:
  Lifecycle() { world.keys.add_tenant("acme"); }
  ApiWorld world;
};

using Revoke = Lifecycle;

TEST_F(Revoke, AnswersTheRevokedKeyAndItsSuccessor) {
  const auto answer = world.post(revoke_path, R"({"reason":"laptop lost"})");
  EXPECT_EQ(answer.status, 200) << answer;
  EXPECT_EQ(answer.text("tenantId"), "acme");
  const auto value = answer.json();
  EXPECT_EQ(value.at("revoked").at("keyId").as_string(), key);
  EXPECT_EQ(value.at("revoked").at("status").as_string(), "REVOKED");
  EXPECT_EQ(value.at("revoked").at("reason").as_string(), "laptop lost");
  EXPECT_EQ(value.at("successor").at("version").as_int64(), 2);
  EXPECT_EQ(value.at("successor").at("status").as_string(), "ACTIVE");
  EXPECT_EQ(world.lifecycle.asked.at(0), "revoke acme " + key + " laptop lost");
  EXPECT_EQ(world.audit.entries.at(0).verb, "revoke");
  EXPECT_EQ(world.audit.entries.at(0).outcome, "ok");
}

TEST_F(Revoke, OfAKeyThatIsNotActiveHasNoSuccessor) {
  world.lifecycle.has_successor = false;
  EXPECT_TRUE(world.post(revoke_path, R"({"reason":"x"})").json().at("successor").is_null());
}

TEST_F(Revoke, WaitsAsLongAsALease) {
  world.rebuild({.node_lease = 300s});
  world.post(revoke_path, R"({"reason":"x"})");
  EXPECT_EQ(world.lifecycle.last_call.deadline, world.clock.steady_now() + 360s);
}

TEST_F(Revoke, NeedsAReasonOfOneLine) {
  const std::string long_one(256, 'x');
  EXPECT_EQ(world.post(revoke_path, R"({"reason":")" + long_one + "\"}").status, 200);
  std::string umlauts;
  for (int i = 0; i < 256; ++i) umlauts += "ü";
  EXPECT_EQ(world.post(revoke_path, R"({"reason":")" + umlauts + "\"}").status, 200);
  world.lifecycle.asked.clear();
  for (const auto& reason :
       {std::string("\"\""), std::string("\"  \""), "\"" + long_one + "x\"", "\"" + umlauts + "ü\"",
        std::string(R"("a\nb")"), std::string(R"("a\u0000b")"), std::string(R"("\u0085")"),
        std::string(R"("\u007f")"), std::string("7"), std::string("null"), std::string("[]")}) {
    const auto answer = world.post(revoke_path, R"({"reason":)" + reason + "}");
    EXPECT_EQ(answer.status, 400) << reason;
    EXPECT_NE(answer.text("detail").find("'reason'"), std::string::npos) << answer;
  }
  for (const auto* body : {"", "{}", R"({"reason":"x","force":true})", "\"x\""}) {
    EXPECT_EQ(world.post(revoke_path, body).status, 400) << body;
  }
  EXPECT_TRUE(world.lifecycle.asked.empty());
}

TEST_F(Revoke, OfWhatIsNoKeyIdIsAMistakeAndIsAudited) {
  const auto answer = world.post("/api/tenants/acme/keys/1/revoke", R"({"reason":"x"})");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.text("detail"), "the key id in the path is not a UUID");
  EXPECT_EQ(world.audit.entries.at(0).outcome, "invalid_argument");
  EXPECT_EQ(world.raw({.method = "POST", .target = revoke_path}).status, 401);
}

TEST_F(Revoke, HandsRefusalsOn) {
  world.lifecycle.next_error = Error{.code = ErrorCode::key_not_found, .message = "no such key"};
  EXPECT_EQ(world.post(revoke_path, R"({"reason":"x"})").status, 404);
  world.lifecycle.next_error = Error{.code = ErrorCode::destroyed, .message = "destroyed"};
  EXPECT_EQ(world.post(revoke_path, R"({"reason":"x"})").status, 410);
}

using DestroyKey = Lifecycle;

TEST_F(DestroyKey, AnswersTheKeyAsItIsThen) {
  const auto answer = world.call("DELETE", "/api/tenants/acme/keys/" + key + "?unused=true");
  EXPECT_EQ(answer.status, 200) << answer;
  EXPECT_EQ(answer.text("keyId"), key);
  EXPECT_EQ(answer.text("status"), "DESTROYED");
  EXPECT_EQ(answer.text("secretDestroyedAt"), "2025-11-23T00:00:05.000Z");
  EXPECT_EQ(world.lifecycle.asked.at(0), "destroy acme " + key + " unused");
  EXPECT_EQ(world.audit.entries.at(0).verb, "destroy-key");
}

TEST_F(DestroyKey, TakesNothingForGranted) {
  world.call("DELETE", "/api/tenants/acme/keys/" + key);
  world.call("DELETE", "/api/tenants/acme/keys/" + key + "?unused=false");
  for (const auto& asked : world.lifecycle.asked) EXPECT_EQ(asked, "destroy acme " + key);
  EXPECT_EQ(world.lifecycle.asked.size(), 2U);
  for (const auto* query :
       {"?unused", "?unused=", "?unused=yes", "?unused=TRUE", "?unused=1", "?unused=%zz"}) {
    EXPECT_EQ(world.call("DELETE", "/api/tenants/acme/keys/" + key + query).status, 400) << query;
  }
  EXPECT_EQ(world.call("DELETE", "/api/tenants/acme/keys/" + key, R"({"unused":true})").status, 400)
      << "not in the body";
  world.lifecycle.next_error = Error{.code = ErrorCode::conflict, .message = "it is active"};
  EXPECT_EQ(world.call("DELETE", "/api/tenants/acme/keys/" + key).status, 409);
}

using DestroyTenant = Lifecycle;

TEST_F(DestroyTenant, AnswersWhatIsGoneAndTheCertificate) {
  const auto answer = world.call("DELETE", "/api/tenants/acme?confirm=acme");
  EXPECT_EQ(answer.status, 200) << answer;
  EXPECT_EQ(answer.body, R"({"tenantId":"acme","destroyedAt":"2025-11-23T00:00:05.000Z",)"
                         R"("destroyed":{"signing":2,"encryption":3},"pending":false,)"
                         R"("certificate":{"payload":"e30=","signatures":[]}})");
  EXPECT_EQ(world.lifecycle.asked, std::vector<std::string>{"destroy acme"});
  EXPECT_EQ(world.audit.entries.at(0).verb, "destroy-tenant");
}

TEST_F(DestroyTenant, HasNoCertificateUntilItCouldBeSigned) {
  world.lifecycle.destruction.certificate.clear();
  world.lifecycle.destruction.pending = true;
  const auto value = world.call("DELETE", "/api/tenants/acme?confirm=acme").json();
  EXPECT_TRUE(value.at("certificate").is_null());
  EXPECT_TRUE(value.at("pending").as_bool());
}

TEST_F(DestroyTenant, NeedsTheNameAgainAndSaysHow) {
  for (const auto* query : {"", "?confirm", "?confirm=", "?confirm=acme2", "?confirm=ACME",
                            "?confirm=acme&confirm=other", "?force=true"}) {
    const auto answer = world.call("DELETE", std::string("/api/tenants/acme") + query);
    EXPECT_EQ(answer.status, 400) << query;
    EXPECT_EQ(answer.code(), "invalid_argument");
    EXPECT_NE(answer.text("detail").find("DELETE /api/tenants/acme?confirm=acme"),
              std::string::npos);
  }
  EXPECT_TRUE(world.lifecycle.asked.empty());
  EXPECT_EQ(world.audit.entries.size(), 7U) << "refusals are recorded";
  EXPECT_EQ(world.call("DELETE", "/api/tenants/a:b?confirm=a%3Ab").status, 200);
  EXPECT_EQ(world.call("DELETE", "/api/tenants/a%3Ab?confirm=a:b").status, 200);
}

TEST_F(Lifecycle, ARevokedKeysSignatureIsValidAndNotTrusted) {
  const auto made = world.post("/api/tenants/acme/sign", R"({"payload":"AAAA"})");
  const auto body = R"({"payload":"AAAA","signature":")" + made.text("signature") + "\"}";
  const auto before = world.post("/api/tenants/acme/verify", body).json();
  EXPECT_TRUE(before.at("trusted").as_bool());
  EXPECT_FALSE(before.as_object().contains("revokedAt"));
  world.keys.set_state("acme", 1, KeyState::revoked);
  const auto answer = world.post("/api/tenants/acme/verify", body);
  const auto value = answer.json();
  EXPECT_TRUE(value.at("valid").as_bool());
  EXPECT_FALSE(value.at("trusted").as_bool());
  EXPECT_EQ(answer.text("keyStatus"), "REVOKED");
  EXPECT_EQ(answer.text("revokedAt"), "2025-11-24T00:00:00.123Z");
  EXPECT_EQ(answer.text("revocationReason"), "laptop lost");
  const auto other = world.post("/api/tenants/acme/verify", R"({"payload":"BBBB","signature":")" +
                                                                made.text("signature") + "\"}");
  EXPECT_FALSE(other.json().at("trusted").as_bool());
}

TEST_F(Lifecycle, AStaleSignatureSaysSo) {
  const auto fresh = world.post("/api/tenants/acme/sign", R"({"payload":"AAAA"})");
  EXPECT_FALSE(fresh.json().as_object().contains("stale"));
  world.keys.stale = true;
  const auto stale = world.post("/api/tenants/acme/sign", R"({"payload":"AAAA"})");
  EXPECT_TRUE(stale.json().at("stale").as_bool());
}

TEST_F(Lifecycle, PublicKeysComeWithWhatProvesThem) {
  world.post("/api/tenants/acme/rotate", "");
  world.keys.set_state("acme", 1, KeyState::revoked);
  const auto value = world.get("/api/tenants/acme/public-keys").json();
  const auto& second = value.at("keys").at(0).as_object();
  const auto& first = value.at("keys").at(1).as_object();
  EXPECT_EQ(second.at("attestation").at("payloadType").as_string(),
            "application/vnd.betrace.attestation.v1+json");
  EXPECT_EQ(second.at("succession").at("payloadType").as_string(),
            "application/vnd.betrace.succession.v1+json");
  EXPECT_FALSE(second.contains("revokedAt"));
  EXPECT_TRUE(first.contains("attestation"));
  EXPECT_FALSE(first.contains("succession"));
  EXPECT_EQ(first.at("revokedAt").as_string(), "2025-11-24T00:00:00.123Z");
  EXPECT_EQ(first.at("revocationReason").as_string(), "laptop lost");
}

class Rewrap : public Lifecycle {
 protected:
  std::string encrypted(const std::string& context) {
    return world
        .post("/api/tenants/acme/encrypt", R"({"plaintext":"aGk=","context":)" + context + "}")
        .text("ciphertext");
  }
  ApiAnswer post(const std::string& verb, const std::string& body) {
    return world.post("/api/tenants/acme/" + verb, body);
  }
};

TEST_F(Rewrap, AnswersACiphertextThatTheSameContextOpens) {
  const auto text = encrypted(R"({"a":"1"})");
  const auto answer = post("rewrap", R"({"ciphertext":")" + text + R"(","context":{"a":"1"}})");
  EXPECT_EQ(answer.status, 200) << answer;
  EXPECT_EQ(post("decrypt",
                 R"({"ciphertext":")" + answer.text("ciphertext") + R"(","context":{"a":"1"}})")
                .text("plaintext"),
            "aGk=");
  EXPECT_EQ(world.keys.rewrapped, 1);
  EXPECT_EQ(post("rewrap", R"({"ciphertext":")" + text + R"(","context":{"a":"2"}})").code(),
            "invalid_ciphertext");
  EXPECT_EQ(post("rewrap", R"({"ciphertext":"nonsense"})").code(), "invalid_ciphertext");
}

TEST_F(Rewrap, WorksOnManyAndFailsAloneWhereOneFails) {
  const auto text = encrypted("{}");
  const auto value =
      post("rewrap", R"({"ciphertexts":[")" + text + R"(","nonsense",")" + text + "\"]}").json();
  const auto& results = value.at("results").as_array();
  ASSERT_EQ(results.size(), 3U);
  EXPECT_TRUE(results[0].as_object().contains("ciphertext"));
  EXPECT_EQ(results[1].at("error").at("code").as_string(), "invalid_ciphertext");
  EXPECT_TRUE(results[2].as_object().contains("ciphertext"));
  EXPECT_EQ(world.keys.rewrapped, 2);
}

TEST_F(Rewrap, AndDecryptOpenARevokedVersionOnRequestOnly) {
  const auto body = R"({"ciphertext":")" + encrypted("{}") + "\"}";
  world.keys.encryption_revoked = true;
  for (const std::string verb : {"decrypt", "rewrap"}) {
    const auto refused = post(verb, body);
    EXPECT_EQ(refused.status, 403) << verb;
    EXPECT_EQ(refused.code(), "permission_denied");
    EXPECT_EQ(post(verb + "?allow_revoked=false", body).status, 403);
    EXPECT_EQ(post(verb + "?allow_revoked=true", body).status, 200);
    EXPECT_EQ(post(verb + "?x=%20&allow_revoked=true&y", body).status, 200) << "others are ignored";
    for (const auto* odd : {"", "=", "=1", "=True", "=yes", "=true%20", "=%zz"}) {
      const auto answer = post(verb + "?allow_revoked" + odd, body);
      EXPECT_EQ(answer.code(), "invalid_argument") << odd;
    }
  }
}

TEST_F(Rewrap, TakesBatchesAsLargeAsEncryptDoes) {
  const std::string body = R"({"ciphertexts":[")" + std::string(2 << 20, 'A') + "\"]}";
  EXPECT_EQ(post("rewrap", body).status, 200);
  const std::string single = R"({"ciphertext":")" + std::string(2 << 20, 'A') + "\"}";
  EXPECT_EQ(post("rewrap", single).status, 413);
}

}  // namespace
}  // namespace betrace::kms
