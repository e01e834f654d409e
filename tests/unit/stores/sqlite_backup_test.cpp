#include "stores/sqlite_backup.h"

#include <atomic>
#include <fstream>
#include <set>
#include <thread>

#include <sys/stat.h>

#include "unit/stores/sqlite_fixture.h"

namespace betrace::kms::testing {
namespace {

const CopyProgress silent = [](std::uint64_t, std::uint64_t) {};

struct SqliteBackup : SqliteTest {
  std::string copy() const { return folder().file("backup.db"); }
  Store read_only(const std::string& path) {
    auto opened = open_sqlite_store_read_only(path);
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? *std::move(opened) : nullptr;
  }
};

TEST_F(SqliteBackup, HoldsWhatTheStoreHeldAndIsOneFileOfItsOwner) {
  auto store = open();
  ASSERT_TRUE(create(*store, "acme"));
  std::uint64_t done = 0, total = 1;
  ASSERT_TRUE(copy_sqlite_store(path(), copy(), [&](std::uint64_t now, std::uint64_t all) {
    done = now;
    total = all;
  }));
  EXPECT_EQ(done, total);
  ASSERT_TRUE(create(*store, "later"));
  const auto backup = read_only(copy());
  EXPECT_TRUE(has(*backup, "acme"));
  EXPECT_FALSE(has(*backup, "later"));
  EXPECT_TRUE(integrity_of_sqlite_store(copy())->empty());
  struct stat status{};
  ASSERT_EQ(stat(copy().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_FALSE(std::filesystem::exists(copy() + ".partial"));
  EXPECT_FALSE(std::filesystem::exists(copy() + "-wal"));
}

TEST_F(SqliteBackup, IsOneMomentOfAStoreThatIsWrittenMeanwhile) {
  auto store = open();
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (int i = 0; !stop; ++i) EXPECT_TRUE(create(*store, "t" + std::to_string(i)));
  });
  for (int round = 0; round < 10; ++round) {
    const auto file = folder().file("backup-" + std::to_string(round));
    ASSERT_TRUE(copy_sqlite_store(path(), file, silent));
    const auto backup = read_only(file);
    const auto tenants = backup->list_tenants(call_, {.after = {}, .limit = 100000}).value();
    EXPECT_EQ(backup->counts(call_)->tenants, tenants.size());
    for (const auto& tenant : tenants) EXPECT_TRUE(has(*backup, tenant.id.str()));
  }
  stop = true;
  writer.join();
}

TEST_F(SqliteBackup, NeverReplacesAFile) {
  auto store = open();
  ASSERT_TRUE(create(*store, "acme"));
  std::ofstream(copy()) << "precious";
  const auto copied = copy_sqlite_store(path(), copy(), silent);
  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.error().code, ErrorCode::conflict);
  std::ifstream in(copy());
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), "precious");
}

TEST_F(SqliteBackup, OfWhatIsNoStoreIsRefusedInWords) {
  expect_unavailable(copy_sqlite_store(folder().file("absent"), copy(), silent),
                     {"absent", "is not a file"});
  std::ofstream(folder().file("text")) << std::string(5000, 'x');
  expect_unavailable(copy_sqlite_store(folder().file("text"), copy(), silent),
                     {"is not a SQLite database"});
  std::ofstream(folder().file("empty"));
  expect_unavailable(copy_sqlite_store(folder().file("empty"), copy(), silent), {"empty database"});
  EXPECT_FALSE(std::filesystem::exists(copy()));
  EXPECT_FALSE(std::filesystem::exists(copy() + ".partial"));
}

TEST_F(SqliteBackup, AStoreThatSomebodyHasOpenCannotBeClaimed) {
  auto store = open();
  ASSERT_TRUE(create(*store, "acme"));
  const auto claim = StoreClaim::take(path());
  ASSERT_FALSE(claim);
  EXPECT_EQ(claim.error().code, ErrorCode::conflict);
  EXPECT_THAT(claim.error().message, ::testing::HasSubstr("is in use"));
  store.reset();
  EXPECT_TRUE(StoreClaim::take(path()));
  EXPECT_FALSE(std::filesystem::exists(path() + "-wal"));
}

TEST_F(SqliteBackup, AClaimedStoreCanBeReadAndNotOpenedForUse) {
  ASSERT_TRUE(create(*open(), "acme"));
  auto claim = StoreClaim::take(path());
  ASSERT_TRUE(claim) << claim.error().message;
  EXPECT_TRUE(has(*read_only(path()), "acme"));
  expect_unavailable(try_open({.path = path(), .busy_timeout = std::chrono::milliseconds(20)}),
                     {"is locked by another program"});
  EXPECT_FALSE(StoreClaim::take(path()));
  {
    const auto released = *std::move(claim);
  }
  EXPECT_TRUE(has(*open(), "acme"));
}

TEST_F(SqliteBackup, WhatAppearedWhereNothingWasIsNotReplaced) {
  ASSERT_TRUE(create(*open(), "acme"));
  ASSERT_TRUE(copy_sqlite_store(path(), copy(), silent));
  ASSERT_TRUE(create(*open(), "meanwhile"));
  const auto swapped = swap_sqlite_store(copy(), path(), "");
  ASSERT_FALSE(swapped);
  EXPECT_EQ(swapped.error().code, ErrorCode::conflict);
  EXPECT_TRUE(has(*open(), "meanwhile"));
}

TEST_F(SqliteBackup, LeftoversOfARestoreGoAndNothingElse) {
  ASSERT_TRUE(create(*open(), "acme"));
  for (const auto* name : {"", ".0a0b0c0d.partial", "-wal", ".had"}) {
    std::ofstream(restore_draft(path()) + name) << "wrapped keys";
  }
  const auto kept = path() + ".before-restore-20261125T000000.000Z";
  std::ofstream(kept) << "kept";
  remove_restore_leftovers(path());
  std::set<std::string> names;
  for (const auto& each : std::filesystem::directory_iterator(folder().path())) {
    names.insert(each.path().string());
  }
  EXPECT_EQ(names, (std::set<std::string>{path(), kept}));
}

TEST_F(SqliteBackup, RaisedCountersAndChangesGoOnFromTheFurther) {
  {
    auto store = open();
    ASSERT_TRUE(create(*store, "acme"));
    ASSERT_TRUE(store->reserve(call_, "nonces", 10, 1000));
    ASSERT_TRUE(copy_sqlite_store(path(), copy(), silent));
    ASSERT_TRUE(store->reserve(call_, "nonces", 90, 1000));
  }
  ASSERT_TRUE(raise_sqlite_store(copy(), {.generation = 500, .epoch = 7, .counters_of = path()}));
  auto raised = open({.path = copy()});
  EXPECT_EQ(raised->reserve(call_, "nonces", 1, 1000).value(), 100U);
  EXPECT_EQ(raised->reserve(call_, "epoch", 1, 1000).value(), 7U);
  EXPECT_EQ(raised->generation(call_).value(), 501U);
  // Who followed the old store up to any change of it drops all.
  EXPECT_TRUE(raised->changes_since(call_, 3)->everything);
  EXPECT_TRUE(raised->changes_since(call_, 400)->everything);
}

TEST_F(SqliteBackup, ASwapKeepsWhatWasThere) {
  {
    auto store = open();
    ASSERT_TRUE(create(*store, "acme"));
    ASSERT_TRUE(copy_sqlite_store(path(), copy(), silent));
    ASSERT_TRUE(create(*store, "later"));
  }
  ASSERT_TRUE(StoreClaim::take(path()));
  ASSERT_TRUE(swap_sqlite_store(copy(), path(), folder().file("kept.db")));
  EXPECT_FALSE(has(*open(), "later"));
  EXPECT_TRUE(has(*open({.path = folder().file("kept.db")}), "later"));
}

}  // namespace
}  // namespace betrace::kms::testing
