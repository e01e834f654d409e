#include <string>

#include "support/api_world.h"

namespace betrace::kms {
namespace {

TEST(PublicKeys, AreListedNewestFirst) {
  ApiWorld world;
  world.keys.add_tenant("acme");
  world.post("/api/tenants/acme/rotate", "");
  const auto answer = world.get("/api/tenants/acme/public-keys");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.text("tenantId"), "acme");
  const auto value = answer.json();
  const auto& keys = value.at("keys").as_array();
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_EQ(keys[0].at("version").as_int64(), 2);
  EXPECT_EQ(keys[0].at("status").as_string(), "ACTIVE");
  EXPECT_EQ(keys[0].at("algorithm").as_string(), "Ed25519");
  EXPECT_EQ(keys[1].at("status").as_string(), "DEPRECATED");
  EXPECT_EQ(keys[0].at("createdAt").as_string(), "2025-11-23T00:00:00.123Z");
  EXPECT_EQ(keys[0].at("expiresAt").as_string(), "2026-02-21T00:00:00.123Z") << "90 days";
}

TEST(PublicKeys, AreSubjectPublicKeyInfosInBothForms) {
  ApiWorld world;
  world.keys.add_tenant("acme");
  const auto value = world.get("/api/tenants/acme/public-keys").json();
  const auto& key = value.at("keys").at(0);
  const std::string spki = key.at("publicKey").as_string().c_str();
  const auto der = base64_decode(spki);
  ASSERT_TRUE(der);
  EXPECT_EQ(hex_encode(*der).substr(0, 24), "302a300506032b6570032100");
  EXPECT_EQ(der->size(), 44U);
  EXPECT_EQ(key.at("publicKeyPem").as_string().c_str(),
            "-----BEGIN PUBLIC KEY-----\n" + spki + "\n-----END PUBLIC KEY-----\n");
}

TEST(Jwks, HoldsWhatMayBeTrusted) {
  ApiWorld world;
  world.keys.add_tenant("acme");
  for (int i = 0; i < 3; ++i) world.post("/api/tenants/acme/rotate", "");
  world.keys.set_state("acme", 1, KeyState::destroyed);
  world.keys.set_state("acme", 2, KeyState::revoked);
  const auto answer = world.get("/api/tenants/acme/jwks.json");
  EXPECT_EQ(answer.type, "application/jwk-set+json");
  const auto set = answer.json();
  const auto keys = world.get("/api/tenants/acme/public-keys").json();
  ASSERT_EQ(set.at("keys").as_array().size(), 2U);
  const auto& jwk = set.at("keys").at(0);
  EXPECT_EQ(jwk.at("kty").as_string(), "OKP");
  EXPECT_EQ(jwk.at("crv").as_string(), "Ed25519");
  EXPECT_EQ(jwk.at("use").as_string(), "sig");
  EXPECT_EQ(jwk.at("alg").as_string(), "EdDSA");
  EXPECT_EQ(jwk.at("kid").as_string(), keys.at("keys").at(0).at("keyId").as_string());
  const auto spki = base64_decode(keys.at("keys").at(0).at("publicKey").as_string().c_str());
  const auto x = base64url_decode(jwk.at("x").as_string().c_str());
  ASSERT_TRUE(x && spki);
  EXPECT_TRUE(std::equal(x->begin(), x->end(), spki->begin() + 12, spki->end()));
}

TEST(PublicKeys, OfTheServiceAreEmptyBeforeItsFirstTenant) {
  ApiWorld world;
  EXPECT_EQ(world.get("/api/public-keys").body, R"({"tenantId":"@service","keys":[]})");
  world.keys.add_tenant("@service");
  EXPECT_EQ(world.get("/api/public-keys").json().at("keys").as_array().size(), 1U);
  EXPECT_EQ(world.get("/api/tenants/%40service/public-keys").status, 400);
  world.keys.next_error = Error{.code = ErrorCode::store_unavailable, .message = "m", .type = {}};
  EXPECT_EQ(world.get("/api/public-keys").status, 503);
}

TEST(PublicKeys, OfAnUnknownTenantAreNotFound) {
  ApiWorld world;
  EXPECT_EQ(world.get("/api/tenants/nobody/public-keys").status, 404);
  EXPECT_EQ(world.get("/api/tenants/nobody/jwks.json").status, 404);
}

}  // namespace
}  // namespace betrace::kms
