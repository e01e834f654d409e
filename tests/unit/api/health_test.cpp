#include <string>

#include "api/openapi.h"
#include "support/api_world.h"

namespace betrace::kms {
namespace {

const char* const health_paths[] = {"/q/health", "/q/health/live", "/q/health/ready",
                                    "/q/health/started", "/q/health/group/serving"};

// jq '.checks[] | select(.name == "kms")'
boost::json::value check(const ApiAnswer& answer, std::string_view name) {
  const auto value = answer.json();
  for (const auto& each : value.at("checks").as_array()) {
    if (each.at("name").as_string() == boost::json::string_view(name.data(), name.size())) {
      return each;
    }
  }
  return {};
}

TEST(Health, OfAWorkingProviderIsUp) {
  ApiWorld world;
  const auto answer = world.get("/q/health/ready");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.type, "application/json");
  EXPECT_EQ(answer.body,
            R"({"status":"UP","checks":[{"name":"kms","status":"UP","data":{"provider":"local",)"
            R"("latency_ms":7,"status":"operational"}}]})");
}

TEST(Health, OfABrokenProviderIsDownWithTheReason) {
  ApiWorld world;
  world.monitor.state.up = false;
  world.monitor.state.provider = "aws";
  world.monitor.state.error = Error{.code = ErrorCode::kms_key_disabled,
                                    .message = "arn:aws:kms:x is disabled.",
                                    .type = "DisabledException"};
  const auto answer = world.get("/q/health/ready");
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.text("status"), "DOWN");
  const auto kms = check(answer, "kms");
  EXPECT_EQ(kms.at("status").as_string(), "DOWN");
  EXPECT_EQ(kms.at("data").at("provider").as_string(), "aws");
  EXPECT_EQ(kms.at("data").at("error").as_string(), "arn:aws:kms:x is disabled.");
  EXPECT_EQ(kms.at("data").at("error_type").as_string(), "DisabledException");
  EXPECT_EQ(kms.at("data").at("help_url").as_string(),
            "docs/KMS_TROUBLESHOOTING.md#issue-2-health-check-returns-down");
  EXPECT_FALSE(kms.at("data").as_object().contains("latency_ms"));
}

TEST(Health, ErrorTypeFallsBackToTheCodeAndHelpToTheIssue) {
  ApiWorld world;
  world.monitor.state.up = false;
  const std::pair<ErrorCode, const char*> helps[] = {{ErrorCode::kms_access_denied, "issue-1-"},
                                                     {ErrorCode::invalid_ciphertext, "issue-8-"},
                                                     {ErrorCode::circuit_open, "issue-10-"},
                                                     {ErrorCode::kms_timeout, "issue-2-"}};
  for (const auto& [code, issue] : helps) {
    world.monitor.state.error = Error{.code = code, .message = "m", .type = {}};
    const auto data = check(world.get("/q/health"), "kms").at("data");
    EXPECT_EQ(std::string_view(data.at("error_type").as_string().c_str()), to_string(code));
    EXPECT_NE(std::string_view(data.at("help_url").as_string().c_str()).find(issue),
              std::string_view::npos);
  }
}

TEST(Health, IsLiveWhateverTheProviderDoes) {
  ApiWorld world;
  world.monitor.state = {.started = false,
                         .up = false,
                         .serving = false,
                         .provider = "aws",
                         .latency = {},
                         .error = {}};
  EXPECT_EQ(world.get("/q/health/live").body, R"({"status":"UP","checks":[]})");
  EXPECT_EQ(world.get("/q/health/started").status, 503);
  EXPECT_EQ(world.get("/q/health/ready").status, 503);
  EXPECT_EQ(world.get("/q/health").status, 503);
  EXPECT_EQ(world.get("/q/health/group/serving").status, 503);
}

TEST(Health, HasStartedWhenTheFirstProbeCameBackBadly) {
  ApiWorld world;
  world.monitor.state.up = false;
  EXPECT_EQ(world.get("/q/health/started").status, 200);
  EXPECT_EQ(world.get("/q/health").status, 503);
}

TEST(Health, ServesWhileWarmTenantsCanBeServed) {
  ApiWorld world;
  world.monitor.state.up = false;
  const auto answer = world.get("/q/health/group/serving");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(check(answer, "serving").at("data").at("provider_status").as_string(), "DOWN");
}

TEST(Health, AliasesAnswerTheSame) {
  ApiWorld world;
  for (const auto* path : health_paths) {
    EXPECT_EQ(world.get(path).body, world.get(std::string(path).substr(2)).body) << path;
  }
}

TEST(Health, AsksForNothingAndEndsNotReady) {
  ApiWorld world;
  for (const auto* path : health_paths) {
    EXPECT_EQ(world
                  .raw({.method = "GET",
                        .target = path,
                        .headers = {{"Host", "kms.example"}},
                        .peer_is_loopback = false})
                  .status,
              200)
        << path;
  }
  world.router->begin_shutdown();
  EXPECT_EQ(world.get("/q/health/group/serving").status, 503);
  EXPECT_EQ(check(world.get("/q/health/ready"), "shutdown").at("status").as_string(), "DOWN");
  EXPECT_EQ(world.get("/q/health/live").status, 200);
}

TEST(MetricsRoute, GivesSamplesToCurlAndMetadataToPrometheus) {
  ApiWorld world;
  const auto accepting = [&](std::string accept) {
    return world.raw(
        {.method = "GET", .target = "/q/metrics", .headers = {{"Accept", std::move(accept)}}});
  };
  const auto curl = accepting("*/*");
  EXPECT_EQ(curl.status, 200);
  EXPECT_EQ(curl.type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(curl.body.find("# "), std::string::npos);
  EXPECT_NE(curl.body.find("kms_cache_hit_total{key_type=\"signing\"} "), std::string::npos);
  EXPECT_EQ(accepting("text/plain").body.find("# HELP"), std::string::npos);
  for (const auto* accept :
       {"text/plain;version=0.0.4;q=0.3,*/*;q=0.2", "application/openmetrics-text",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily"}) {
    EXPECT_NE(accepting(accept).body.find("# TYPE kms_cache_hit_total counter"), std::string::npos)
        << accept;
  }
  EXPECT_EQ(world.raw({.method = "GET", .target = "/metrics"}).status, 200);
}

TEST(OpenApi, IsServedAsItIs) {
  ApiWorld world;
  const auto answer = world.raw({.method = "GET", .target = "/q/openapi"});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.type, "application/json");
  EXPECT_EQ(answer.body, openapi_document());
  EXPECT_EQ(world
                .raw({.method = "GET",
                      .target = "/q/openapi",
                      .headers = {{"Accept", "application/yaml"}}})
                .type,
            "application/yaml");
}

}  // namespace
}  // namespace betrace::kms
