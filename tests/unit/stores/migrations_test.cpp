#include "stores/migrations.h"

#include <gtest/gtest.h>

#include "support/store_raw_sqlite.h"
#include "support/store_records.h"

namespace betrace::kms::testing {
namespace {

class Migrations : public ::testing::Test {
 protected:
  Migrations() : shell_(folder_.file()) {
    shell_.run("PRAGMA journal_mode = WAL");
    db_.emplace(*SqliteDb::open({.path = folder_.file()}));
  }
  TemporaryFolder folder_;
  RawSqlite shell_;
  std::optional<SqliteDb> db_;
};

TEST_F(Migrations, StepsAreNumberedFromOneWithoutGaps) {
  int expected = 1;
  for (const auto& step : migrations()) EXPECT_EQ(step.version, expected++);
  EXPECT_GT(expected, 1);
}

TEST_F(Migrations, AnEmptyFileIsBroughtUpToDateOnce) {
  ASSERT_TRUE(migrate(*db_));
  EXPECT_EQ(shell_.value("PRAGMA user_version"), std::to_string(migrations().size()));
  shell_.run("INSERT INTO tenants (id, created_at) VALUES ('a', 1)");
  ASSERT_TRUE(migrate(*db_));
  EXPECT_EQ(shell_.value("SELECT count(*) FROM tenants"), "1");
}

TEST_F(Migrations, OnlyTheStepsThatAreMissingAreRun) {
  const Migration one[] = {{1, "CREATE TABLE a (x)"}};
  const Migration two[] = {{1, "CREATE TABLE never (x)"}, {2, "CREATE TABLE b (x)"}};
  ASSERT_TRUE(migrate(*db_, one));
  ASSERT_TRUE(migrate(*db_, two));
  EXPECT_EQ(shell_.value("SELECT group_concat(name) FROM sqlite_schema"), "a,b");
}

TEST_F(Migrations, AStepThatFailsLeavesNothingOfItself) {
  const Migration steps[] = {{1, "CREATE TABLE a (x)"}, {2, "CREATE TABLE b (x); NOT SQL"}};
  const auto done = migrate(*db_, steps);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::store_unavailable);
  EXPECT_EQ(shell_.value("PRAGMA user_version"), "1");
  EXPECT_EQ(shell_.value("SELECT group_concat(name) FROM sqlite_schema"), "a");
  const Migration mended[] = {{1, ""}, {2, "CREATE TABLE b (x)"}};
  EXPECT_TRUE(migrate(*db_, mended));
}

}  // namespace
}  // namespace betrace::kms::testing
