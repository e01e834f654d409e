#include <string>

#include "support/api_world.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

using std::chrono_literals::operator""us;
using std::chrono_literals::operator""s;

ValidationReport passing_report() {
  ValidationReport report{.provider = "local", .tests = {}, .recommendations = {"all is well"}};
  for (const auto* name : {"generate_data_key", "encrypt", "decrypt", "describe_key",
                           "key_retrieval_cache_miss", "key_retrieval_cache_hit"}) {
    report.tests.push_back({.name = name, .failure = {}, .latency = 1250us});
  }
  return report;
}

TEST(Validate, ReportsEveryTestByName) {
  ApiWorld world;
  world.monitor.report = passing_report();
  const auto answer = world.post("/api/admin/kms/validate", "");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body,
            R"({"provider":"local","overall":"PASS","tests":{"generate_data_key":"PASS",)"
            R"("encrypt":"PASS","decrypt":"PASS","describe_key":"PASS",)"
            R"("key_retrieval_cache_miss":"PASS","key_retrieval_cache_hit":"PASS"},"latency_ms":{)"
            R"("generate_data_key":1.25,"encrypt":1.25,"decrypt":1.25,"describe_key":1.25,)"
            R"("cache_miss":1.25,"cache_hit":1.25},"recommendations":["all is well"]})");
}

TEST(Validate, FailsWithTheProvidersOwnWordsAndStill200) {
  ApiWorld world;
  world.monitor.report = passing_report();
  world.monitor.report.tests[0].failure = Error{.code = ErrorCode::kms_access_denied,
                                                .message = "not authorized to perform: \"x\"",
                                                .type = "AccessDeniedException"};
  const auto answer = world.post("/api/admin/kms/validate", "{}");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.text("overall"), "FAIL");
  EXPECT_EQ(answer.json().at("tests").at("generate_data_key").as_string(),
            "FAIL: not authorized to perform: \"x\"");
  EXPECT_EQ(answer.json().at("tests").at("encrypt").as_string(), "PASS");
}

TEST(Status, ShowsProviderCachesBreakersAndIssues) {
  ApiWorld world;
  world.clock.advance(75s);
  const auto answer = world.get("/api/admin/kms/status");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body,
            R"({"provider":"local","status":"HEALTHY","latency_ms":7,"cache_size":6,)"
            R"("cache_private_keys":3,"cache_public_keys":2,"cache_encryption_keys":1,)"
            R"("circuit_breakers":{"kms-signing-key":"CLOSED","kms-public-key":"OPEN",)"
            R"("kms-encryption-key":"HALF_OPEN"},"wrappings":[{"provider":"local",)"
            R"("master_key_id":"m","keys":3,"readable":true}],"issues":[],"version":"1.2.3",)"
            R"("uptime_seconds":75})");
}

TEST(Status, WarnsOfIssuesAndIsDownWithTheProvider) {
  ApiWorld world;
  world.monitor.problems = {"not for production"};
  EXPECT_EQ(world.get("/api/admin/kms/status").text("status"), "WARNING");
  world.monitor.state.up = false;
  world.monitor.state.error =
      Error{.code = ErrorCode::kms_timeout, .message = "timed out", .type = {}};
  const auto down = world.get("/api/admin/kms/status");
  EXPECT_EQ(down.status, 200);
  EXPECT_EQ(down.text("status"), "DOWN");
  EXPECT_EQ(down.text("error"), "timed out");
  EXPECT_EQ(down.json().at("issues").at(0).as_string(), "not for production");
  world.monitor.problems.clear();
  world.monitor.state.started = false;
  EXPECT_EQ(world.get("/api/admin/kms/status").text("status"), "WARNING");
}

TEST(CacheConfig, ShowsDurationsAsJavaWritesThem) {
  ApiWorld world(ApiSettings{.private_key_ttl = std::chrono::minutes(90),
                             .public_key_ttl = std::chrono::hours(24),
                             .encryption_key_ttl = std::chrono::minutes(45),
                             .cache_entries_max = 2000});
  EXPECT_EQ(world.get("/api/admin/cache/config").body,
            R"({"privateKeyTTL":"PT1H30M","publicKeyTTL":"PT24H","encryptionKeyTTL":"PT45M",)"
            R"("maxEntries":2000})");
}

TEST(TestKeyRetrieval, SucceedsWithALatency) {
  ApiWorld world;
  world.keys.add_tenant("acme");
  const auto answer = world.post("/api/admin/kms/test-key-retrieval", R"({"tenantId":"acme"})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, R"({"status":"success","latency_ms":0,"cache_hit":true})");
}

TEST(TestKeyRetrieval, IsAProblemWithoutATenant) {
  ApiWorld world;
  const auto path = "/api/admin/kms/test-key-retrieval";
  const auto missing = world.post(path, R"({"tenantId":"nobody"})");
  EXPECT_EQ(missing.status, 404);
  EXPECT_NE(missing.text("detail").find("PUT /api/tenants/nobody"), std::string::npos);
  EXPECT_EQ(world.post(path, "{}").text("detail"),
            "the field 'tenantId' is missing; it is a string");
  EXPECT_EQ(world.post(path, R"({"tenantId":"a b"})").code(), "invalid_argument");
  EXPECT_EQ(world.post(path, R"({"tenantId":"@service"})").code(), "invalid_argument");
  EXPECT_EQ(world.post(path, "").code(), "malformed_json");
}

TEST(LogLevel, IsSetLiveAndAudited) {
  ApiWorld world;
  const auto answer = world.call("PUT", "/api/admin/log-level",
                                 R"({"category":"com.betrace.kms.apitest","level":"DEBUG"})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, R"({"category":"com.betrace.kms.apitest","level":"DEBUG"})");
  EXPECT_EQ(logger("com.betrace.kms.apitest.below").level(), spdlog::level::debug);
  ASSERT_EQ(world.audit.entries.size(), 1U);
  EXPECT_EQ(world.audit.entries[0].verb, "log-level");
  const auto wrong =
      world.call("PUT", "/api/admin/log-level", R"({"category":"com.betrace.kms","level":"LOUD"})");
  EXPECT_EQ(wrong.status, 400);
  EXPECT_EQ(wrong.code(), "invalid_argument");
}

}  // namespace
}  // namespace betrace::kms
