#include "api/authentication.h"

#include "support/api_world.h"

namespace betrace::kms {
namespace {

const Headers local = {{"Host", "localhost:8080"}};

Headers with(Headers headers, std::string name, std::string value) {
  headers.emplace_back(std::move(name), std::move(value));
  return headers;
}

ApiAnswer status_as(ApiWorld& world, Headers headers, bool peer_is_loopback = true) {
  return world.raw({.method = "GET",
                    .target = "/api/admin/kms/status",
                    .headers = std::move(headers),
                    .peer_is_loopback = peer_is_loopback});
}

TEST(Authentication, LetsTheTokenInAndNothingElse) {
  ApiWorld world;
  const auto as = [&](std::string authorization) {
    return world
        .raw({.method = "GET",
              .target = "/api/tenants",
              .headers = {{"Authorization", std::move(authorization)}}})
        .status;
  };
  const std::string token(test_token);
  EXPECT_EQ(as("Bearer " + token), 200);
  EXPECT_EQ(as("bearer   " + token + " "), 200);
  const std::string wrongs[] = {token,
                                "Basic " + token,
                                "Bearer",
                                "Bearer ",
                                "Bearer " + token + "x",
                                "Bearer " + token.substr(1),
                                "Bearer " + std::string(token.size(), 'x'),
                                "Bearer " + token + "," + token,
                                "Bearer\t" + token,
                                std::string("Bearer \0", 8)};
  for (const auto& wrong : wrongs) {
    EXPECT_EQ(as(wrong), 401) << wrong;
  }
}

TEST(Authentication, AnEmptyConfiguredTokenLetsNobodyIn) {
  ApiSettings settings;
  const FakeConnection connection(
      {.method = "GET", .target = "/", .headers = {{"Authorization", "Bearer "}}}, {});
  EXPECT_FALSE(has_admin_token(connection.request(), settings));
}

TEST(Authentication, ARefusalSaysWhereTheTokenIsAndNeverWhatItIs) {
  ApiWorld world;
  const auto near = world.raw({.method = "POST", .target = "/api/tenants/acme/sign"});
  EXPECT_EQ(near.status, 401);
  EXPECT_EQ(near.code(), "unauthenticated");
  EXPECT_EQ(near.header("WWW-Authenticate"), "Bearer");
  EXPECT_NE(near.body.find("ADMIN_TOKEN"), std::string::npos);
  EXPECT_NE(near.body.find("data/admin-token"), std::string::npos);
  EXPECT_EQ(near.body.find(test_token), std::string::npos);

  const auto far = world.raw({.method = "POST",
                              .target = "/api/tenants/acme/sign",
                              .headers = {{"Authorization", "Bearer wrong-CANARY"}},
                              .peer_is_loopback = false});
  EXPECT_EQ(far.status, 401);
  EXPECT_EQ(far.body.find("data/admin-token"), std::string::npos) << "a path, told to a stranger";
  EXPECT_EQ(far.body.find("CANARY"), std::string::npos);
}

TEST(Authentication, ReadsAnonymouslyFromThisMachineOnly) {
  ApiWorld world;
  EXPECT_EQ(status_as(world, local).status, 200);
  EXPECT_EQ(status_as(world, {}).status, 200);
  EXPECT_EQ(status_as(world, {{"Host", "127.0.0.1"}}).status, 200);
  EXPECT_EQ(status_as(world, {{"Host", "127.1.2.3:80"}}).status, 200);
  EXPECT_EQ(status_as(world, {{"Host", "[::1]:8080"}}).status, 200);
  EXPECT_EQ(status_as(world, {{"host", "LOCALHOST"}}).status, 200);
  EXPECT_EQ(status_as(world, with(local, "Origin", "http://localhost:8080")).status, 200);
  EXPECT_EQ(status_as(world, local, false).status, 401);
}

TEST(Authentication, AForwardedOrForeignRequestIsNotLocal) {
  ApiWorld world;
  const std::pair<std::string, std::string> foreign[] = {{"X-Forwarded-For", "10.0.0.1"},
                                                         {"x-forwarded-proto", "https"},
                                                         {"X-Forwarded-Anything", ""},
                                                         {"Forwarded", "for=10.0.0.1"},
                                                         {"Origin", "https://evil.example"},
                                                         {"Origin", "null"},
                                                         {"Origin", "http://localhost:3000"},
                                                         {"Origin", "localhost:8080"},
                                                         {"Host", "evil.example"}};
  for (const auto& [name, value] : foreign) {
    const auto answer = status_as(world, with(local, name, value));
    EXPECT_EQ(answer.status, 401) << name << ": " << value;
    EXPECT_NE(answer.body.find("on this machine only"), std::string::npos);
  }
  for (const auto* host : {"evil.example", "127.0.0.1.evil.example", "localhost.evil.example",
                           "127.evil", "[::2]", "", "10.0.0.1", "localhost@evil", "[::1"}) {
    EXPECT_EQ(status_as(world, {{"Host", host}}).status, 401) << host;
  }
}

TEST(Authentication, ValidateIsAnAnonymousReadToo) {
  ApiWorld world;
  EXPECT_EQ(
      world.raw({.method = "POST", .target = "/api/admin/kms/validate", .headers = local}).status,
      200);
  EXPECT_EQ(world
                .raw({.method = "POST",
                      .target = "/api/admin/kms/validate",
                      .headers = with(local, "X-Forwarded-For", "10.0.0.1")})
                .status,
            401);
}

TEST(Authentication, AnonymousReadingCanBeForbiddenOrOpened) {
  ApiWorld never(ApiSettings{.anonymous = AnonymousRead::never});
  EXPECT_EQ(status_as(never, local).status, 401);
  ApiWorld always(ApiSettings{.anonymous = AnonymousRead::always});
  EXPECT_EQ(status_as(always, {{"Host", "kms.example"}}, false).status, 200);
  EXPECT_EQ(always.raw({.method = "GET", .target = "/api/tenants"}).status, 401)
      << "reading status is not reading tenants";
}

TEST(Authentication, AWrongTokenIsRefusedEvenWhereNoneIsNeeded) {
  ApiWorld world;
  EXPECT_EQ(status_as(world, with(local, "Authorization", "Bearer wrong")).status, 401);
  EXPECT_EQ(world
                .raw({.method = "GET",
                      .target = "/q/health/live",
                      .headers = {{"Authorization", "Bearer wrong"}}})
                .status,
            200)
      << "health asks for nothing";
}

TEST(Authentication, PublicKeysAreOpenWhereSettingsSaySo) {
  for (const bool open : {false, true}) {
    ApiWorld world(ApiSettings{.public_keys_anonymous = open});
    world.keys.add_tenant("acme");
    for (const auto* path :
         {"/api/tenants/acme/public-keys", "/api/tenants/acme/jwks.json", "/api/public-keys"}) {
      const auto answer = world.raw({.method = "GET", .target = path, .peer_is_loopback = false});
      EXPECT_EQ(answer.status, open ? 200 : 401) << path;
    }
  }
}

TEST(AdminAuthorizer, LetsAnonymousReadersLookAndNoMore) {
  const AdminAuthorizer authorizer;
  const Principal admin{.kind = Principal::Kind::admin, .name = "admin"};
  const Principal nobody{.kind = Principal::Kind::anonymous, .name = "anonymous"};
  for (const auto* verb : {"status", "validate", "doctor", "cache-config", "public-keys"}) {
    EXPECT_TRUE(authorizer.allow(nobody, verb, ""));
  }
  for (const auto& route : routes()) {
    EXPECT_TRUE(authorizer.allow(admin, route.verb, "acme"));
    if (route.permission == Permission::bearer) {
      EXPECT_FALSE(authorizer.allow(nobody, route.verb, "acme")) << route.verb;
    }
  }
}

struct DenyAll final : Authorizer {
  mutable std::string asked;
  bool allow(const Principal& principal, std::string_view verb,
             std::string_view tenant) const override {
    asked = principal.name + " " + std::string(verb) + " " + std::string(tenant);
    return false;
  }
};

TEST(Authorization, ADenialIs403AndAudited) {
  ApiWorld world;
  DenyAll deny;
  ApiSettings settings;
  settings.admin_token = SecretBytes::copy_of(as_bytes(test_token));
  world.router = std::make_unique<Router>(ApiParts{.keys = world.keys,
                                                   .lifecycle = world.lifecycle,
                                                   .rotation = world.rotation,
                                                   .migration = world.migration,
                                                   .evidence = world.evidence,
                                                   .archive = world.archive,
                                                   .stream = world.stream,
                                                   .monitor = world.monitor,
                                                   .doctor = world.doctor,
                                                   .metrics = world.metrics,
                                                   .authorizer = deny,
                                                   .audit = world.audit,
                                                   .clock = world.clock,
                                                   .heavy = world.heavy,
                                                   .settings = std::move(settings)});
  const auto answer = world.post("/api/tenants/acme/sign", "{}");
  EXPECT_EQ(answer.status, 403);
  EXPECT_EQ(answer.code(), "permission_denied");
  EXPECT_EQ(deny.asked, "admin sign acme");
  ASSERT_EQ(world.audit.entries.size(), 1U);
  EXPECT_EQ(world.audit.entries[0].outcome, "permission_denied");
  EXPECT_EQ(world.audit.entries[0].tenant, "acme");
  EXPECT_EQ(world.raw({.method = "GET", .target = "/api/admin/kms/status"}).status, 401)
      << "who has not said who he is may do so";
  EXPECT_EQ(world.get("/q/health/live").status, 200);
}

}  // namespace
}  // namespace betrace::kms
