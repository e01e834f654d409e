#include <string>

#include "support/api_world.h"

namespace betrace::kms {
namespace {

const std::string start_path = "/api/admin/kms/rotate-all-keys";
const std::string status_path = "/api/admin/kms/rotation-status";
const std::string due_path = "/api/admin/kms/tenants-needing-rotation";

RotationRun some_run() {
  return {.id = "0193567a-7b6c-7000-8000-000000000009",
          .state = RotationRun::State::running,
          .trigger = "request",
          .node = "a",
          .force = true,
          .started_at = FakeLifecycle::at(0),
          .total_tenants = 1000,
          .rotated_tenants = 997,
          .failed_tenants = 2,
          .signing_keys = 997,
          .encryption_keys = 990,
          .failures = {{.tenant = "acme",
                        .error = "kms_access_denied: no",
                        .at = FakeLifecycle::at(3)}},
          .estimated_completion = FakeLifecycle::at(60)};
}

TEST(RotationStatus, BeforeTheFirstRunIsZerosAndNulls) {
  ApiWorld world;
  const auto answer = world.get(status_path);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body,
            R"({"status":"NONE","run_id":null,"trigger":null,"force":false,"total_tenants":0,)"
            R"("rotated":0,"failed":0,"remaining":0,"progress_pct":0,"estimated_completion":null,)"
            R"("started_at":null,"finished_at":null,"signing_keys":0,"encryption_keys":0,)"
            R"("failures":[]})");
}

TEST(RotationStatus, OfARunSaysHowFarItIs) {
  ApiWorld world;
  world.rotation.run = some_run();
  EXPECT_EQ(world.get(status_path).body,
            R"({"status":"RUNNING","run_id":"0193567a-7b6c-7000-8000-000000000009",)"
            R"("trigger":"request","force":true,"total_tenants":1000,"rotated":997,"failed":2,)"
            R"("remaining":1,"progress_pct":99.9,)"
            R"("estimated_completion":"2025-11-23T00:01:00.000Z",)"
            R"("started_at":"2025-11-23T00:00:00.000Z","finished_at":null,"signing_keys":997,)"
            R"("encryption_keys":990,"failures":[{"tenantId":"acme",)"
            R"("error":"kms_access_denied: no","at":"2025-11-23T00:00:03.000Z"}]})");
}

TEST(RotationStatus, IsAtAHundredWhenAllAreDoneAndNotBefore) {
  ApiWorld world;
  auto& run = world.rotation.run = some_run();
  const auto percent = [&] {
    return world.get(status_path).json().at("progress_pct").to_number<double>();
  };
  run.total_tenants = 1'000'000;
  run.rotated_tenants = 999'999;
  run.failed_tenants = 0;
  EXPECT_EQ(percent(), 99.9);
  run.failed_tenants = 1;
  EXPECT_EQ(percent(), 100);
  run.total_tenants = 5;  // tenants were destroyed meanwhile
  EXPECT_EQ(percent(), 100);
  EXPECT_EQ(world.get(status_path).json().at("remaining").as_int64(), 0);
  run = {.id = run.id, .state = RotationRun::State::complete};
  EXPECT_EQ(percent(), 100) << "nothing was due";
  EXPECT_EQ(world.get(status_path).text("status"), "COMPLETE");
  run.state = RotationRun::State::interrupted;
  EXPECT_EQ(world.get(status_path).text("status"), "INTERRUPTED");
}

TEST(RotateAllKeys, BeginsARunAndAnswersItsStatus) {
  ApiWorld world;
  world.rotation.run = some_run();
  const auto answer = world.post(start_path, "");
  EXPECT_EQ(answer.status, 202);
  EXPECT_EQ(answer.body, world.get(status_path).body);
  EXPECT_FALSE(world.rotation.requested->force);
  EXPECT_FALSE(world.rotation.requested->stagger);
  EXPECT_EQ(world.rotation.requested->trigger, "request");
  EXPECT_EQ(world.post(start_path, R"({"force":true,"stagger_ms":100})").status, 202);
  EXPECT_TRUE(world.rotation.requested->force);
  EXPECT_EQ(world.rotation.requested->stagger, std::chrono::milliseconds(100));
  EXPECT_EQ(world.audit.entries.at(0).verb, "rotate-all-keys");
}

TEST(RotateAllKeys, RefusesWhileOneRuns) {
  ApiWorld world;
  world.rotation.next_error = Error{.code = ErrorCode::rotation_running, .message = "on node b"};
  const auto answer = world.post(start_path, "{}");
  EXPECT_EQ(answer.status, 409);
  EXPECT_EQ(answer.code(), "rotation_running");
  EXPECT_EQ(world.audit.entries.at(0).outcome, "rotation_running");
}

TEST(RotateAllKeys, RefusesWhatItDoesNotKnow) {
  ApiWorld world;
  for (const auto* body : {R"({"force":1})", R"({"force":"true"})", R"({"stagger_ms":-1})",
                           R"({"stagger_ms":3600001})", R"({"stagger_ms":"100"})",
                           R"({"stagger_ms":0.5})", R"({"staggerMs":1})", "[]", "true", "{"}) {
    EXPECT_EQ(world.post(start_path, body).status, 400) << body;
  }
  EXPECT_FALSE(world.rotation.requested);
  EXPECT_EQ(world.raw({.method = "POST", .target = start_path}).status, 401);
}

TEST(TenantsNeedingRotation, AreListedInPagesOldestFirst) {
  ApiWorld world;
  for (int i = 0; i < 3; ++i) {
    world.rotation.add_due("t:" + std::to_string(i), KeyType::signing, i);
    world.rotation.add_due("t:" + std::to_string(i), KeyType::encryption, i);
  }
  std::string seen;
  std::string path = due_path + "?limit=4";
  for (int pages = 0; pages < 2; ++pages) {
    const auto answer = world.get(path);
    ASSERT_EQ(answer.status, 200) << answer;
    const auto value = answer.json();
    EXPECT_EQ(value.at("max_age_days").as_int64(), 90);
    EXPECT_EQ(value.at("count").as_int64(), pages == 0 ? 4 : 2);
    for (const auto& each : value.at("tenants").as_array()) {
      EXPECT_EQ(each.at("ageDays").as_int64(), 95);
      seen += std::string(each.at("tenantId").as_string().c_str()) + "/" +
              each.at("keyType").as_string().c_str() + " ";
    }
    EXPECT_EQ(value.at("next").is_null(), pages == 1);
    path = due_path + "?limit=4&after=" + answer.text("next");
  }
  EXPECT_EQ(seen,
            "t:0/signing t:0/encryption t:1/signing t:1/encryption t:2/signing t:2/encryption ");
}

TEST(TenantsNeedingRotation, RefusePlacesThatTheyDidNotName) {
  ApiWorld world;
  for (const std::string plain : {"x", "1", "1 signing", "x signing acme", "1 other acme",
                                  "1 signing a b", "1 signing ", "1x signing a"}) {
    EXPECT_EQ(world.get(due_path + "?after=" + base64url_encode(as_bytes(plain))).status, 400)
        << plain;
  }
  for (const auto* query : {"after=%21", "limit=0", "limit=1001"}) {
    EXPECT_EQ(world.get(due_path + "?" + query).status, 400) << query;
  }
  EXPECT_EQ(world.get(due_path + "?after=").status, 200);
  EXPECT_EQ(world.get(due_path).body, R"({"tenants":[],"count":0,"max_age_days":90,"next":null})");
}

TEST(SchedulerStatus, IsAsTheContractWritesIt) {
  ApiWorld world;
  const std::string path = "/q/scheduler/status";
  world.rotation.state.next_execution = FakeLifecycle::at(7200);
  EXPECT_EQ(world.raw({.target = path}).body,
            R"({"schedulers":[{"name":"keyRotationCheck","enabled":true,"cron":"0 0 2 * * ?",)"
            R"("lastExecution":null,"nextExecution":"2025-11-23T02:00:00.000Z"}]})");
  world.rotation.state = {.enabled = false, .cron = "off", .last_execution = FakeLifecycle::at(0)};
  EXPECT_EQ(world.raw({.target = path}).body,
            R"({"schedulers":[{"name":"keyRotationCheck","enabled":false,"cron":"off",)"
            R"("lastExecution":"2025-11-23T00:00:00.000Z","nextExecution":null}]})");
}

TEST(Rotation, HandsRefusalsOn) {
  ApiWorld world;
  for (const auto& path :
       {status_path, due_path, std::string("/api/admin/compliance/rotation-report")}) {
    world.rotation.next_error = Error{.code = ErrorCode::store_unavailable, .message = "m"};
    EXPECT_EQ(world.get(path).status, 503) << path;
  }
}

}  // namespace
}  // namespace betrace::kms
