#include "stores/writer.h"

#include <future>
#include <latch>
#include <thread>

#include <gtest/gtest.h>

#include "base/try.h"
#include "support/store_raw_sqlite.h"
#include "support/store_records.h"

namespace betrace::kms::testing {
namespace {

// A file with a table whose broken references are found out at COMMIT.
class GroupCommit : public ::testing::Test {
 protected:
  GroupCommit() : shell_(folder_.file()) {
    shell_.run(
        "PRAGMA journal_mode = WAL;"
        "CREATE TABLE changes (generation INTEGER PRIMARY KEY, tenant TEXT);"
        "CREATE TABLE parents (id INTEGER PRIMARY KEY);"
        "CREATE TABLE children (id INTEGER PRIMARY KEY,"
        " parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)");
    auto db = SqliteDb::open({.path = folder_.file(), .busy_timeout = std::chrono::seconds(20)});
    EXPECT_TRUE(db);
    writer_ = std::make_unique<Writer>(*std::move(db));
  }

  // Keeps the writer in a job of its own until others wait behind it.
  class Hold {
   public:
    explicit Hold(Writer& writer) : writer_(writer) {
      running_ = std::async(std::launch::async, [&] {
        return writer_.run([&](SqliteDb&) {
          begun_.count_down();
          released_.wait();
          return Status();
        });
      });
      begun_.wait();
    }
    void until_queued(std::size_t jobs) {
      while (writer_.queued() < jobs) std::this_thread::yield();
    }
    void release() { released_.count_down(); }
    Status outcome() { return running_.get(); }

   private:
    Writer& writer_;
    std::latch begun_{1}, released_{1};
    std::future<Status> running_;
  };

  // Two jobs in one transaction.
  std::pair<Status, Status> together(const Writer::Job& one, const Writer::Job& other) {
    Hold hold(*writer_);
    auto first = std::async(std::launch::async, [&] { return writer_->run(one); });
    hold.until_queued(1);
    auto second = std::async(std::launch::async, [&] { return writer_->run(other); });
    hold.until_queued(2);
    hold.release();
    EXPECT_TRUE(hold.outcome());
    return {first.get(), second.get()};
  }
  std::string count(const std::string& table) {
    return shell_.value("SELECT count(*) FROM " + table);
  }

  static Status add_parent(SqliteDb& db) {
    return db.query("INSERT INTO parents DEFAULT VALUES").run();
  }
  static Status add_orphan(SqliteDb& db) {
    return db.query("INSERT INTO children (parent) VALUES (12345)").run();
  }

  TemporaryFolder folder_;
  RawSqlite shell_;
  std::unique_ptr<Writer> writer_;
};

TEST_F(GroupCommit, AJobThatFailsIsUndoneAlone) {
  const auto [failed, done] = together(
      [](SqliteDb& db) -> Status {
        TRY(add_parent(db));
        return fail(ErrorCode::conflict, "changed my mind");
      },
      add_parent);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "changed my mind");
  EXPECT_TRUE(done);
  EXPECT_EQ(count("parents"), "1");
  EXPECT_EQ(writer_->commits(), 2U);
}

TEST_F(GroupCommit, JobsOfOneCallAreOneTransactionAndEachIsUndoneAlone) {
  const std::vector<Writer::Job> jobs{add_parent,
                                      [](SqliteDb& db) -> Status {
                                        TRY(add_parent(db));
                                        return fail(ErrorCode::conflict, "changed my mind");
                                      },
                                      add_parent};
  const auto outcomes = writer_->run_each(jobs);
  ASSERT_EQ(outcomes.size(), 3U);
  EXPECT_TRUE(outcomes[0] && outcomes[2]);
  ASSERT_FALSE(outcomes[1]);
  EXPECT_EQ(outcomes[1].error().code, ErrorCode::conflict);
  EXPECT_EQ(count("parents"), "2");
  EXPECT_EQ(writer_->commits(), 1U);
}

TEST_F(GroupCommit, ATransactionThatFailsFailsEveryJobOfACall) {
  const std::vector<Writer::Job> jobs{add_parent, add_orphan, add_parent};
  for (const auto& outcome : writer_->run_each(jobs)) EXPECT_FALSE(outcome);
  EXPECT_EQ(count("parents"), "0");
}

TEST_F(GroupCommit, ACommitThatFailsFailsEveryJobOfItAndLeavesNoTrace) {
  const auto [orphan, parent] = together(add_orphan, add_parent);
  EXPECT_FALSE(orphan);
  EXPECT_FALSE(parent);
  EXPECT_EQ(count("parents"), "0");
  EXPECT_EQ(count("children"), "0");
  EXPECT_TRUE(writer_->run(add_parent));
  EXPECT_EQ(count("parents"), "1");
}

TEST_F(GroupCommit, AJobThatLosesTheTransactionFailsTheOthers) {
  const auto lose = [](SqliteDb& db) -> Status {
    TRY(db.query("ROLLBACK").run());
    return fail(ErrorCode::store_unavailable, "the disk is full");
  };
  const auto [lost, parent] = together(lose, add_parent);
  EXPECT_FALSE(lost);
  ASSERT_FALSE(parent);
  EXPECT_EQ(parent.error().message, "the disk is full");
  EXPECT_EQ(count("parents"), "0");
  EXPECT_TRUE(writer_->run(add_parent));
}

}  // namespace
}  // namespace betrace::kms::testing
