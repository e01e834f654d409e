#include <string>

#include "support/api_world.h"

namespace betrace::kms {
namespace {

TEST(Tenants, AreCreatedOnceAndThenFound) {
  ApiWorld world;
  const auto made = world.call("PUT", "/api/tenants/acme");
  EXPECT_EQ(made.status, 201);
  EXPECT_EQ(made.header("Location"), "/api/tenants/acme");
  EXPECT_EQ(made.text("tenantId"), "acme");
  EXPECT_EQ(made.text("createdAt"), "2025-11-23T00:00:00.123Z");
  const auto again = world.call("PUT", "/api/tenants/acme", "{}");
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.header("Location"), "");
  EXPECT_EQ(again.body, made.body);
  EXPECT_EQ(world.get("/api/tenants/acme").body, made.body);
}

TEST(Tenants, ShowTheirKeysWithVersionAndState) {
  ApiWorld world;
  world.keys.add_tenant("acme");
  world.post("/api/tenants/acme/rotate", "");
  const auto value = world.get("/api/tenants/acme").json();
  const auto& keys = value.at("keys").as_array();
  ASSERT_EQ(keys.size(), 4U);
  EXPECT_EQ(keys[0].at("keyType").as_string(), "signing");
  EXPECT_EQ(keys[0].at("status").as_string(), "DEPRECATED");
  EXPECT_TRUE(keys[0].as_object().contains("stateChangedAt"));
  EXPECT_EQ(keys[1].at("keyType").as_string(), "encryption");
  EXPECT_EQ(keys[2].at("version").as_int64(), 2);
  EXPECT_EQ(keys[2].at("status").as_string(), "ACTIVE");
  EXPECT_FALSE(keys[2].as_object().contains("publicKey"));
  EXPECT_FALSE(value.at("destroyed").as_bool());
}

TEST(Tenants, ThatAreMissingAreNotFound) {
  ApiWorld world;
  EXPECT_EQ(world.get("/api/tenants/nobody").code(), "tenant_not_found");
  EXPECT_EQ(world.post("/api/tenants/nobody/rotate", "").code(), "tenant_not_found");
}

TEST(Tenants, RotateToNewVersionsOfBothKeys) {
  ApiWorld world;
  world.keys.add_tenant("acme");
  const auto answer = world.post("/api/tenants/acme/rotate", "{}");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.text("tenantId"), "acme");
  const auto value = answer.json();
  ASSERT_EQ(value.at("keys").as_array().size(), 2U);
  for (const auto& key : value.at("keys").as_array()) EXPECT_EQ(key.at("version").as_int64(), 2);
}

TEST(Tenants, AreListedInPages) {
  ApiWorld world;
  for (const auto* id : {"a", "b", "c", "d", "e"}) world.keys.add_tenant(id);
  const auto ids = [](const ApiAnswer& answer) {
    std::string text;
    const auto value = answer.json();
    for (const auto& tenant : value.at("tenants").as_array()) {
      text += tenant.at("tenantId").as_string().c_str();
    }
    return text;
  };
  const auto first = world.get("/api/tenants?limit=2");
  EXPECT_EQ(ids(first), "ab");
  EXPECT_EQ(first.text("next"), "b");
  const auto second = world.get("/api/tenants?after=b&limit=3");
  EXPECT_EQ(ids(second), "cde");
  EXPECT_TRUE(second.json().at("next").is_null());
  EXPECT_EQ(ids(world.get("/api/tenants")), "abcde");
  EXPECT_EQ(ids(world.get("/api/tenants?limit=1000&after=%62")), "cde");
  EXPECT_EQ(ids(world.get("/api/tenants?after=zzz")), "");
  EXPECT_EQ(ids(world.get("/api/tenants?&after=&x")), "abcde");
  for (const auto* query : {"limit=0", "limit=1001", "limit=-1", "limit=", "limit=2x", "limit",
                            "limit=99999999999999999999", "after=%zz", "after=%2"}) {
    const auto answer = world.get("/api/tenants?" + std::string(query));
    EXPECT_EQ(answer.status, 400) << query;
    EXPECT_EQ(answer.code(), "invalid_argument") << query;
  }
}

TEST(Tenants, TakeNoFields) {
  ApiWorld world;
  const auto answer = world.call("PUT", "/api/tenants/acme", R"({"region":"eu"})");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.text("detail"), "the body has an unknown field 'region'; accepted: none");
  EXPECT_EQ(world.keys.created, 0);
  EXPECT_EQ(world.post("/api/tenants/acme/rotate", "[]").status, 400);
}

TEST(Tenants, IdsAreCheckedWhereTheyEnter) {
  ApiWorld world;
  EXPECT_EQ(world.call("PUT", "/api/tenants/A.z_9:x-1").status, 201);
  EXPECT_EQ(world.call("PUT", "/api/tenants/a%3Ab").status, 201);
  EXPECT_EQ(world.get("/api/tenants/a:b").status, 200);
  EXPECT_EQ(world.call("PUT", "/api/tenants/" + std::string(128, 'a')).status, 201);
  for (const auto& id :
       {std::string(129, 'a'), std::string("@service"), std::string("a%20b"), std::string("a%2Fb"),
        std::string("a%00b"), std::string("%"), std::string("%4"), std::string("a%zz"),
        std::string("%C3%A9"), std::string("a+b"), std::string("a\xff"), std::string("")}) {
    const auto answer = world.call("PUT", "/api/tenants/" + id);
    EXPECT_EQ(answer.status, 400) << id;
    EXPECT_EQ(answer.code(), "invalid_argument") << id;
  }
  EXPECT_EQ(world.keys.created, 3);
}

}  // namespace
}  // namespace betrace::kms
