// migrate: what is printed while it goes on and at its end.
#include "client_fixture.h"

namespace betrace::kms {
namespace {

using ClientMigration = ClientCommands;

std::string run_of(const std::string& status, int moved, int failed,
                   const std::string& failures = "") {
  return R"({"status":")" + status +
         R"(","run_id":"m1","provider":"aws","master_key_id":"arn:k","total":10,"moved":)" +
         std::to_string(moved) + R"(,"failed":)" + std::to_string(failed) + R"(,"failures":[)" +
         failures + "]}";
}

TEST_F(ClientMigration, FollowsTheRunToItsEndAndDrawsNothingInAPipe) {
  world_.answer_in_turn({{202, run_of("RUNNING", 0, 0)},
                         {200, run_of("RUNNING", 4, 0)},
                         {200, run_of("COMPLETE", 10, 0)}});
  EXPECT_EQ(run({"migrate"}), ExitCode::ok);
  EXPECT_EQ(world_.calls.front().url, "http://localhost:1/api/admin/kms/migrate");
  EXPECT_EQ(world_.calls.back().url, "http://localhost:1/api/admin/kms/migration-status");
  EXPECT_EQ(out(), "complete: 10 of 10 keys moved to aws arn:k, 0 failed\n");
  EXPECT_EQ(err(), "");
}

TEST_F(ClientMigration, DrawsItsProgressOnATerminalAndFailsWhenAKeyCouldNotBeMoved) {
  world_.err_is_terminal = true;
  world_.answer_in_turn(
      {{202, run_of("RUNNING", 0, 0)},
       {200, run_of("RUNNING", 4, 1)},
       {200, run_of("COMPLETE", 9, 1, R"({"tenantId":"a","error":"is not authorized"})")}});
  EXPECT_EQ(run({"migrate"}), ExitCode::check_failed);
  EXPECT_NE(err().find("50%  5/10 keys, 1 failed"), std::string::npos) << err();
  EXPECT_NE(err().find("100%  10/10 keys, 1 failed"), std::string::npos) << err();
  EXPECT_NE(err().find("a: is not authorized"), std::string::npos) << err();
}

TEST_F(ClientMigration, ADryRunShowsWhoHoldsHowManyAndChangesNothing) {
  world_.answer(200, R"({"wrappings":[{"provider":"local","master_key_id":"local:1","keys":7,)"
                     R"("readable":true},{"provider":"gcp","master_key_id":"g","keys":2,)"
                     R"("readable":false}]})");
  EXPECT_EQ(run({"migrate", "--dry-run"}), ExitCode::ok);
  EXPECT_EQ(world_.calls.size(), 1U);
  EXPECT_NE(out().find("7 keys under local local:1\n"), std::string::npos) << out();
  EXPECT_NE(out().find("2 keys under gcp g  (no configured provider opens them)"),
            std::string::npos)
      << out();
}

}  // namespace
}  // namespace betrace::kms
