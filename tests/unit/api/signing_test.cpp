#include <string>

#include "support/api_world.h"

namespace betrace::kms {
namespace {

const std::string sign_path = "/api/tenants/acme/sign";
const std::string verify_path = "/api/tenants/acme/verify";

class Signing : public testing::Test {
 protected:
  Signing() { world.keys.add_tenant("acme"); }

  std::string signature_of(const std::string& payload) {
    return world.post(sign_path, R"({"payload":")" + payload + "\"}").text("signature");
  }
  ApiAnswer verify(const std::string& fields) {
    return world.post(verify_path, "{" + fields + "}");
  }

  ApiWorld world;
};

TEST_F(Signing, SignsOnePayload) {
  const auto answer = world.post(sign_path, R"({"payload":"aGVsbG8="})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.type, "application/json");
  const auto value = answer.json();
  EXPECT_EQ(value.as_object().size(), 4U);
  EXPECT_EQ(answer.text("algorithm"), "Ed25519");
  EXPECT_EQ(value.at("version").as_int64(), 1);
  EXPECT_EQ(answer.text("keyId").size(), 36U);
  EXPECT_EQ(base64_decode(answer.text("signature"))->size(), 64U);
}

TEST_F(Signing, SignsAnEmptyPayload) {
  EXPECT_EQ(world.post(sign_path, R"({"payload":""})").status, 200);
}

TEST_F(Signing, TakesBase64WithEscapedSlashes) {
  const auto plain = signature_of("////");
  EXPECT_EQ(plain.size(), 88U);
  EXPECT_EQ(signature_of(R"(\/\/\/\/)"), plain);
}

TEST_F(Signing, SignsManyInOrderAndFailsOneAlone) {
  const auto reserved = base64_encode(dsse_encode("application/vnd.betrace.x", {}));
  const auto answer =
      world.post(sign_path, R"({"payloads":["AAAA",")" + reserved + R"(","BBBB"]})");
  EXPECT_EQ(answer.status, 200);
  const auto value = answer.json();
  const auto& results = value.at("results").as_array();
  ASSERT_EQ(results.size(), 3U);
  EXPECT_EQ(results[0].at("signature").as_string().c_str(), signature_of("AAAA"));
  EXPECT_EQ(results[1].at("error").at("code").as_string(), "reserved_payload");
  EXPECT_EQ(results[1].at("error").at("status").as_int64(), 400);
  EXPECT_EQ(results[2].at("signature").as_string().c_str(), signature_of("BBBB"));
}

TEST_F(Signing, RefusesAReservedPayload) {
  const auto reserved = base64_encode(dsse_encode("application/vnd.betrace.x", {}));
  const auto answer = world.post(sign_path, R"({"payload":")" + reserved + "\"}");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.code(), "reserved_payload");
}

TEST_F(Signing, TakesAThousandAndNoMore) {
  const auto batch = [](int n) {
    std::string body = R"({"payloads":[)";
    for (int i = 0; i < n; ++i) body += i == 0 ? "\"\"" : ",\"\"";
    return body + "]}";
  };
  EXPECT_EQ(world.post(sign_path, batch(0)).body, R"({"results":[]})");
  EXPECT_EQ(world.post(sign_path, batch(1000)).json().at("results").as_array().size(), 1000U);
  EXPECT_EQ(world.keys.last_batch, 1000U);
  const auto refused = world.post(sign_path, batch(1001));
  EXPECT_EQ(refused.status, 400);
  EXPECT_NE(refused.text("detail").find("1001 items; at most 1000"), std::string::npos);
}

TEST_F(Signing, NeedsExactlyOneForm) {
  EXPECT_NE(world.post(sign_path, "{}").text("detail").find("either 'payload' or 'payloads'"),
            std::string::npos);
  EXPECT_EQ(world.post(sign_path, R"({"payload":"","payloads":[]})").status, 400);
  EXPECT_EQ(world.post(sign_path, R"({"payload":null,"payloads":[""]})").status, 200);
}

TEST_F(Signing, AnUnknownTenantLearnsHowToBeCreated) {
  const auto answer = world.post("/api/tenants/nobody/sign", R"({"payload":""})");
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.code(), "tenant_not_found");
  EXPECT_EQ(answer.text("detail"),
            "tenant 'nobody' does not exist; create it with PUT /api/tenants/nobody");
}

TEST_F(Signing, CreatesTheTenantOnFirstUseWhereSettingsSaySo) {
  world.rebuild(ApiSettings{.auto_create_tenants = true});
  EXPECT_EQ(world.post("/api/tenants/fresh/sign", R"({"payloads":["","AA=="]})").status, 200);
  EXPECT_EQ(world.post("/api/tenants/fresh/sign", R"({"payload":""})").status, 200);
  EXPECT_EQ(world.keys.created, 1);
  ASSERT_EQ(world.audit.entries.size(), 1U);
  EXPECT_EQ(world.audit.entries[0].verb, "create-tenant");
  EXPECT_EQ(world.audit.entries[0].tenant, "fresh");
  EXPECT_EQ(world.post("/api/tenants/other/encrypt", R"({"plaintext":""})").status, 200);
  EXPECT_EQ(world.post("/api/tenants/third/data-key", "").status, 200);
  EXPECT_EQ(world.post("/api/tenants/none/verify", R"({"payload":"","signature":""})").status, 404);
  EXPECT_EQ(world.keys.created, 3) << "what only a key of before can answer creates nothing";
}

TEST_F(Signing, VerifiesWhatWasSigned) {
  const auto signature = signature_of("aGVsbG8=");
  const auto good = verify(R"("payload":"aGVsbG8=","signature":")" + signature + "\"");
  EXPECT_EQ(good.status, 200);
  EXPECT_TRUE(good.json().at("valid").as_bool());
  EXPECT_EQ(good.json().at("version").as_int64(), 1);
  EXPECT_EQ(good.text("keyStatus"), "ACTIVE");
  EXPECT_EQ(good.json().as_object().size(), 5U);
  const auto bad = verify(R"("payload":"aGVsbG9=","signature":")" + signature + "\"");
  EXPECT_EQ(bad.status, 400) << "stray bits are not base64";
  const auto other = verify(R"("payload":"AAAA","signature":")" + signature + "\"");
  EXPECT_FALSE(other.json().at("valid").as_bool());
  EXPECT_FALSE(verify(R"("payload":"AAAA","signature":"AAAA")").json().at("valid").as_bool());
}

TEST_F(Signing, NamesTheStateOfTheKeyThatVerified) {
  const auto old = signature_of("AAAA");
  world.post("/api/tenants/acme/rotate", "");
  const auto fields = R"("payload":"AAAA","signature":")" + old + "\"";
  EXPECT_EQ(verify(fields).text("keyStatus"), "DEPRECATED");
  world.keys.set_state("acme", 1, KeyState::revoked);
  EXPECT_EQ(verify(fields).text("keyStatus"), "REVOKED");
  world.keys.set_state("acme", 1, KeyState::destroyed);
  EXPECT_EQ(verify(fields).text("keyStatus"), "DESTROYED");
  EXPECT_TRUE(verify(fields + R"(,"version":1)").json().at("valid").as_bool());
  EXPECT_FALSE(verify(fields + R"(,"version":2)").json().at("valid").as_bool());
  EXPECT_EQ(verify(fields + R"(,"version":3)").code(), "key_not_found");
}

TEST_F(Signing, VerifiesUnderANamedKey) {
  const auto signed_answer = world.post(sign_path, R"({"payload":"AAAA"})");
  const auto fields = R"("payload":"AAAA","signature":")" + signed_answer.text("signature") + "\"";
  const auto key = R"(,"keyId":")" + signed_answer.text("keyId") + "\"";
  EXPECT_TRUE(verify(fields + key).json().at("valid").as_bool());
  EXPECT_EQ(verify(fields + key + R"(,"version":1)").status, 400);
  EXPECT_EQ(verify(fields + R"(,"keyId":"not-a-uuid")").status, 400);
  EXPECT_EQ(verify(fields + R"(,"keyId":7)").status, 400);
  for (const auto* version : {"0", "-1", "1.5", "\"1\"", "4294967296"}) {
    EXPECT_EQ(verify(fields + ",\"version\":" + version).status, 400) << version;
  }
}

TEST_F(Signing, VerifiesBatchesInBothForms) {
  const auto a = signature_of("AAAA");
  const auto b = signature_of("BBBB");
  const auto arrays = verify(R"("payloads":["AAAA","BBBB","AAAA"],"signatures":[")" + a + "\",\"" +
                             b + "\",\"" + b + R"("],"version":1)");
  EXPECT_EQ(arrays.status, 200);
  const auto value = arrays.json();
  const auto& results = value.at("results").as_array();
  ASSERT_EQ(results.size(), 3U);
  EXPECT_TRUE(results[0].at("valid").as_bool());
  EXPECT_TRUE(results[1].at("valid").as_bool());
  EXPECT_FALSE(results[2].at("valid").as_bool());

  const auto items =
      verify(R"("items":[{"payload":"AAAA","signature":")" + a +
             R"(","version":1},{"payload":"AAAA","signature":")" + a + R"(","version":9}])");
  EXPECT_EQ(items.status, 200);
  EXPECT_TRUE(items.json().at("results").at(0).at("valid").as_bool());
  EXPECT_EQ(items.json().at("results").at(1).at("error").at("code").as_string(), "key_not_found");
}

TEST_F(Signing, RefusesMixedAndUnevenVerifications) {
  for (const auto* fields :
       {"", R"("payload":"")", R"("signature":"")", R"("payloads":[""])",
        R"("payloads":[""],"signatures":[])", R"("payload":"","signature":"","items":[])",
        R"("items":[],"version":1)", R"("items":[{"payload":""}])", R"("items":["x"])",
        R"("items":[{"payload":"","signature":"","sig":""}])", R"("items":{})",
        R"("payloads":"","signatures":"")", R"("payload":"","signature":"","payloads":[])"}) {
    const auto answer = verify(fields);
    EXPECT_EQ(answer.status, 400) << fields;
    EXPECT_EQ(answer.code(), "invalid_argument") << fields;
  }
  EXPECT_NE(verify(R"("items":[{"payload":"","signature":"!"}])")
                .text("detail")
                .find("items[0].signature"),
            std::string::npos);
}

}  // namespace
}  // namespace betrace::kms
