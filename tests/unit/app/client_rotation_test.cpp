#include <fstream>
#include <sstream>

#include "client_fixture.h"

namespace betrace::kms {
namespace {

using ClientRotation = ClientCommands;

std::string run_of(const std::string& status, int rotated, int failed,
                   const std::string& failures = "") {
  return R"({"status":")" + status + R"(","run_id":"r1","total_tenants":10,"rotated":)" +
         std::to_string(rotated) + R"(,"failed":)" + std::to_string(failed) +
         R"(,"progress_pct":)" + std::to_string((rotated + failed) * 10) +
         R"(,"estimated_completion":"2025-11-23T02:13:05.000Z","signing_keys":)" +
         std::to_string(rotated) + R"(,"encryption_keys":)" + std::to_string(rotated) +
         R"(,"failures":[)" + failures + "]}";
}

TEST_F(ClientRotation, OfOneTenantPrintsItsNewVersions) {
  world_.answer(200, R"({"keys":[{"keyType":"signing","version":2,"keyId":"k"}]})");
  EXPECT_EQ(run({"rotate", "-t", "a"}), ExitCode::ok);
  EXPECT_EQ(call().url, "http://localhost:1/api/tenants/a/rotate");
  EXPECT_EQ(out(), "signing     version 2  k\n");
}

TEST_F(ClientRotation, OfAllFollowsTheRunToItsEnd) {
  world_.answer_in_turn({{202, run_of("RUNNING", 0, 0)},
                         {200, run_of("RUNNING", 4, 0)},
                         {200, run_of("COMPLETE", 10, 0)}});
  EXPECT_EQ(run({"rotate", "--all"}), ExitCode::ok);
  EXPECT_EQ(call().url, "http://localhost:1/api/admin/kms/rotate-all-keys");
  EXPECT_EQ(call().body, R"({"force":false})");
  EXPECT_EQ(world_.calls.at(2).url, "http://localhost:1/api/admin/kms/rotation-status");
  EXPECT_EQ(world_.calls.size(), 3U);
  EXPECT_EQ(out(),
            "complete: 10 of 10 tenants rotated (10 signing keys, 10 encryption keys), 0 failed\n");
  EXPECT_EQ(err(), "") << "no bar in a pipe";
  EXPECT_EQ(world_.paused, std::chrono::milliseconds(600)) << "it waits between two looks";
}

TEST_F(ClientRotation, DrawsItsProgressOnATerminal) {
  world_.err_is_terminal = true;
  world_.answer_in_turn({{202, run_of("RUNNING", 0, 0)},
                         {200, run_of("RUNNING", 4, 1)},
                         {200, run_of("COMPLETE", 9, 1)}});
  EXPECT_EQ(run({"rotate", "--all"}), ExitCode::check_failed);
  EXPECT_NE(
      err().find("\r[..............................] 0%  0/10 tenants, ready about 02:13:05 UTC"),
      std::string::npos)
      << err();
  EXPECT_NE(err().find("\r[###############...............] 50%  5/10 tenants, 1 failed"),
            std::string::npos)
      << err();
  EXPECT_NE(err().find("\r[##############################] 100%  10/10 tenants, 1 failed"),
            std::string::npos);
  EXPECT_TRUE(err().ends_with("\n"));
}

TEST_F(ClientRotation, FailsWhenATenantFailedAndNamesIt) {
  world_.answer_in_turn(
      {{202, run_of("RUNNING", 0, 0)},
       {200, run_of("COMPLETE", 9, 1,
                    R"({"tenantId":"b","error":"kms_access_denied: no\n","at":"now"})")}});
  EXPECT_EQ(run({"rotate", "--all"}), ExitCode::check_failed);
  EXPECT_NE(out().find("9 of 10 tenants rotated"), std::string::npos);
  EXPECT_EQ(err(), "b: kms_access_denied: no \n");
}

TEST_F(ClientRotation, FailsWhenTheRunWasCutOffOrAnotherOneCameAfterIt) {
  world_.answer_in_turn({{202, run_of("RUNNING", 0, 0)}, {200, run_of("INTERRUPTED", 3, 0)}});
  EXPECT_EQ(run({"rotate", "--all"}), ExitCode::check_failed);
  EXPECT_TRUE(out().starts_with("INTERRUPTED: 3 of 10")) << out();
  auto later = run_of("RUNNING", 1, 0);
  later.replace(later.find("r1"), 2, "r2");
  world_.answer_in_turn({{202, run_of("RUNNING", 0, 0)}, {200, later}});
  EXPECT_EQ(run({"rotate", "--all"}), ExitCode::check_failed);
}

TEST_F(ClientRotation, PassesForceAndStaggerOnAndNeedNotWait) {
  world_.answer(202, run_of("RUNNING", 0, 0));
  EXPECT_EQ(run({"rotate", "--all", "--force", "--stagger-ms", "250", "--no-wait"}), ExitCode::ok);
  EXPECT_EQ(call().body, R"({"force":true,"stagger_ms":250})");
  EXPECT_EQ(world_.calls.size(), 1U);
  EXPECT_EQ(out(), "begun: 10 tenants (run r1)\n");
}

TEST_F(ClientRotation, SaysThatTheRunGoesOnWhenTheServiceIsLost) {
  int calls = 0;
  world_.service = [&](const HttpCall&) -> Result<HttpAnswer> {
    if (calls++ > 0) return fail(ErrorCode::kms_unavailable, "connection refused");
    return HttpAnswer{.status = 202, .headers = {}, .body = WipedString(run_of("RUNNING", 0, 0))};
  };
  EXPECT_EQ(run({"rotate", "--all"}), ExitCode::unreachable);
  EXPECT_NE(err().find("the rotation goes on in the service"), std::string::npos) << err();
}

TEST_F(ClientRotation, ARunThatIsRefusedIsReported) {
  world_.answer(409, R"({"code":"rotation_running","detail":"node b rotates"})");
  EXPECT_EQ(run({"rotate", "--all"}), ExitCode::check_failed);
  EXPECT_EQ(err(), "betrace-kms: node b rotates (rotation_running)\n");
}

TEST_F(ClientRotation, InJsonIsTheStatusAtTheEnd) {
  world_.answer_in_turn({{202, run_of("RUNNING", 0, 0)}, {200, run_of("COMPLETE", 10, 0)}});
  EXPECT_EQ(run({"rotate", "--all", "--json"}), ExitCode::ok);
  EXPECT_EQ(out(), run_of("COMPLETE", 10, 0) + "\n");
}

TEST_F(ClientRotation, ADryRunListsWhatIsDuePageAfterPageAndChangesNothing) {
  const std::string item =
      R"({"tenantId":"a","keyType":"signing","keyId":"k","createdAt":"then","ageDays":95})";
  world_.answer_in_turn({{200, R"({"tenants":[)" + item + R"(],"next":"x/y"})"},
                         {200, R"({"tenants":[)" + item + R"(],"next":null})"}});
  EXPECT_EQ(run({"rotate", "--all", "--dry-run"}), ExitCode::ok);
  EXPECT_EQ(call().method, "GET");
  EXPECT_EQ(call().url, "http://localhost:1/api/admin/kms/tenants-needing-rotation?limit=1000");
  EXPECT_EQ(world_.calls.at(1).url,
            "http://localhost:1/api/admin/kms/tenants-needing-rotation?limit=1000&after=x%2Fy");
  EXPECT_EQ(out(), "a  signing     k  then (95 days)\na  signing     k  then (95 days)\n");
  EXPECT_EQ(err(), "2 keys are due; nothing was changed\n");
}

TEST_F(ClientRotation, ADryRunByForceListsTheTenantsThatAreLeft) {
  world_.answer(200, R"({"tenants":[{"tenantId":"a"},{"tenantId":"b","destroyed":true}],
                         "next":null})");
  EXPECT_EQ(run({"rotate", "--all", "--dry-run", "--force"}), ExitCode::ok);
  EXPECT_EQ(call().url, "http://localhost:1/api/tenants?limit=1000");
  EXPECT_EQ(out(), "a\n");
  EXPECT_EQ(run({"rotate", "--all", "--dry-run", "--force", "--json"}), ExitCode::ok);
  EXPECT_TRUE(out().ends_with("{\"tenants\":[{\"tenantId\":\"a\"}]}\n")) << out();
}

TEST_F(ClientRotation, NeedsATenantOrAll) {
  EXPECT_EQ(run({"rotate"}), ExitCode::usage);
  for (const auto* option : {"--force", "--dry-run", "--no-wait"}) {
    EXPECT_EQ(run({"rotate", "-t", "a", option}), ExitCode::usage) << option;
  }
  EXPECT_EQ(run({"rotate", "-t", "a", "--stagger-ms", "1"}), ExitCode::usage);
  EXPECT_TRUE(world_.calls.empty());
}

std::string accept_of(const HttpCall& call) {
  for (const auto& [name, value] : call.headers) {
    if (name == "Accept") return value;
  }
  return {};
}

TEST_F(ClientRotation, ReportGoesIntoAFileInTheFormOfItsEnding) {
  world_.answer(200, std::string_view("%PDF\0x", 6));
  const auto file = directory_.file("report.pdf");
  EXPECT_EQ(run({"rotation-report", "--from", "2025-10-01", "--to", "2025-10-01T00:00:00+02:00",
                 "-o", file}),
            ExitCode::ok);
  EXPECT_EQ(call().url,
            "http://localhost:1/api/admin/compliance/rotation-report?start_date=2025-10-01"
            "&end_date=2025-10-01T00%3A00%3A00%2B02%3A00");
  EXPECT_EQ(accept_of(call()), "application/pdf");
  std::stringstream content;
  content << std::ifstream(file, std::ios::binary).rdbuf();
  EXPECT_EQ(content.str(), std::string("%PDF\0x", 6));
  EXPECT_EQ(run({"rotation-report", "--to", "2025-10-01", "-o", directory_.file("r.csv")}),
            ExitCode::ok);
  EXPECT_EQ(accept_of(world_.calls.at(1)), "text/csv");
  EXPECT_TRUE(world_.calls.at(1).url.ends_with("?end_date=2025-10-01"));
  EXPECT_EQ(run({"rotation-report", "-o", directory_.file("r.csv"), "--format", "json"}),
            ExitCode::ok);
  EXPECT_EQ(accept_of(world_.calls.at(2)), "application/json");
}

TEST_F(ClientRotation, ReportIsNoPdfOnATerminal) {
  world_.answer(200, "x");
  world_.out_is_terminal = true;
  EXPECT_EQ(run({"rotation-report"}), ExitCode::usage);
  EXPECT_TRUE(world_.calls.empty());
  EXPECT_EQ(run({"rotation-report", "--format", "csv"}), ExitCode::ok);
  EXPECT_EQ(run({"rotation-report", "--json"}), ExitCode::ok);
  EXPECT_EQ(accept_of(world_.calls.at(1)), "application/json");
  world_.out_is_terminal = false;
  EXPECT_EQ(run({"rotation-report"}), ExitCode::ok);
  EXPECT_EQ(out(), "xx\nx");
  EXPECT_EQ(run({"rotation-report", "-o", directory_.file("none") + "/r.pdf"}), ExitCode::usage);
}

}  // namespace
}  // namespace betrace::kms
