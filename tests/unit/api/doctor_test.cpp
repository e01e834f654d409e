#include "support/api_world.h"

namespace betrace::kms {
namespace {

TEST(DoctorRoute, AnswersTheContractsShape) {
  ApiWorld world;
  world.doctor.findings.findings = {{.id = "key-disabled",
                                     .severity = Severity::critical,
                                     .title = "The master key cannot be used",
                                     .evidence = "\"k\" is disabled.",
                                     .cause = "Somebody has disabled it",
                                     .remedy = {"aws kms enable-key --key-id k", "check"},
                                     .manual = "Issue 2"}};
  const auto answer = world.get("/api/admin/kms/doctor");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body,
            R"({"healthy":false,"findings":[{"id":"key-disabled","severity":"critical",)"
            R"("title":"The master key cannot be used","evidence":"\"k\" is disabled.",)"
            R"("cause":"Somebody has disabled it",)"
            R"("remedy":["aws kms enable-key --key-id k","check"],"manual":"Issue 2"}]})");
}

TEST(DoctorRoute, CallsAServiceHealthyThatHasNothingToSay) {
  ApiWorld world;
  EXPECT_EQ(world.get("/api/admin/kms/doctor").body, R"({"healthy":true,"findings":[]})");
}

TEST(DoctorRoute, IsReadOnTheSameMachineWithoutAToken) {
  ApiWorld world;
  const auto ask = [&](bool loopback) {
    return world
        .raw({.method = "GET",
              .target = "/api/admin/kms/doctor",
              .headers = {{"Host", "localhost"}},
              .peer_is_loopback = loopback})
        .status;
  };
  EXPECT_EQ(ask(true), 200);
  EXPECT_EQ(ask(false), 401);
}

}  // namespace
}  // namespace betrace::kms
