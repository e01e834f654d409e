// What only the store on SQLite does: a file, shared with other daemons and with people.
#include <atomic>
#include <latch>
#include <thread>

#include <fmt/format.h>
#include <sys/stat.h>

#include "unit/stores/sqlite_fixture.h"

namespace betrace::kms::testing {
namespace {

class SqliteStore : public SqliteTest {
 protected:
  std::vector<std::string> changed(KeyStore& store, std::uint64_t& generation) {
    const auto changes = store.changes_since(call_, generation);
    EXPECT_TRUE(changes);
    EXPECT_FALSE(changes->everything);
    generation = changes->generation;
    std::vector<std::string> names;
    for (const auto& tenant : changes->tenants) names.push_back(tenant.str());
    return names;
  }
  using Names = std::vector<std::string>;
};

TEST_F(SqliteStore, TheFileIsMadeForItsOwnerAlone) {
  const auto store = open();
  ASSERT_TRUE(create(*store, "acme"));
  for (const auto* suffix : {"", "-wal", "-shm"}) {
    struct stat status{};
    ASSERT_EQ(::stat((path() + suffix).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U) << suffix;
  }
  EXPECT_EQ(store->description(), "SQLite at " + path());
}

TEST_F(SqliteStore, WhatWasStoredIsThereAfterReopening) {
  auto store = open();
  ASSERT_TRUE(create(*store, "acme"));
  ASSERT_TRUE(rotate(*store, call_, both_keys(tenant_id("acme"), 2)));
  ASSERT_TRUE(store->reserve(call_, "nonces", 7, 100));
  const auto generation = store->generation(call_);
  store.reset();
  store = open();
  EXPECT_EQ(store->find_active_key(call_, tenant_id("acme"), KeyType::signing)->version, 2U);
  EXPECT_EQ(*store->reserve(call_, "nonces", 7, 100), 7U);
  EXPECT_EQ(*store->generation(call_), *generation);
  EXPECT_EQ(store->counts(call_)->tenants, 1U);
}

TEST_F(SqliteStore, NamesThatMeanSomethingToSqliteAreFilesLikeAnyOther) {
  const auto store = open({.path = folder().file(":memory:")});
  ASSERT_TRUE(create(*store, "acme"));
  EXPECT_TRUE(std::filesystem::exists(folder().file(":memory:")));
  expect_unavailable(open_sqlite_store({.path = ""}), {"path"});
}

TEST_F(SqliteStore, TwoDaemonsOnOneFileSeeEachOthersChanges) {
  const auto one = open(), other = open();
  std::uint64_t at = *other->generation(call_);
  ASSERT_TRUE(create(*one, "acme"));
  EXPECT_TRUE(has(*other, "acme"));
  EXPECT_EQ(changed(*other, at), Names{"acme"});
  EXPECT_EQ(changed(*other, at), Names{});
  ASSERT_TRUE(rotate(*one, call_, both_keys(tenant_id("acme"), 2)));
  const auto late = rotate(*other, call_, both_keys(tenant_id("acme"), 2));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::conflict);
  EXPECT_EQ(changed(*other, at), Names{"acme"});
}

TEST_F(SqliteStore, TwoDaemonsNeverReserveTheSameValues) {
  const auto one = open(), other = open();
  std::atomic<std::uint64_t> sum = 0;
  const auto take = [&](KeyStore& store) {
    for (int taken = 0; taken < 50;) {
      const auto value = store.reserve(call_, "nonces", 1, 1'000);
      if (value) {
        sum += *value;
        ++taken;
      } else {
        // On a slow disk the other one may write for so long that this one's patience ends.
        EXPECT_EQ(value.error().code, ErrorCode::store_unavailable);
      }
    }
  };
  {
    const std::jthread first([&] { take(*one); }), second([&] { take(*other); });
  }
  EXPECT_EQ(sum, 99U * 100U / 2U);
}

TEST_F(SqliteStore, DaemonsThatStartAtOnceOnNoFileAllStart) {
  std::atomic<int> opened = 0;
  std::latch start(8);
  {
    std::vector<std::jthread> daemons;
    for (int i = 0; i < 8; ++i) {
      daemons.emplace_back([&, i] {
        start.arrive_and_wait();
        const auto store = try_open({.busy_timeout = std::chrono::seconds(20)});
        if (store && create(**store, fmt::format("t{}", i))) ++opened;
      });
    }
  }
  EXPECT_EQ(opened, 8);
  EXPECT_EQ(open()->counts(call_)->tenants, 8U);
}

TEST_F(SqliteStore, AnEditByHandIsNoticed) {
  const auto store = open();
  for (const auto* id : {"a", "b", "c"}) ASSERT_TRUE(create(*store, id));
  RawSqlite shell(path());
  std::uint64_t at = *store->generation(call_);

  shell.run("UPDATE keys SET public_key = zeroblob(32) WHERE tenant = 'a' AND type = 'signing'");
  EXPECT_EQ(changed(*store, at), Names{"a"});
  shell.run(
      "UPDATE wrappings SET blob = x'00' WHERE key_id IN (SELECT id FROM keys WHERE tenant = 'b')");
  EXPECT_EQ(changed(*store, at), Names{"b"});
  shell.run("DELETE FROM wrappings WHERE key_id IN (SELECT id FROM keys WHERE tenant = 'a')");
  EXPECT_EQ(changed(*store, at), Names{"a"});
  shell.run("UPDATE tenants SET destroyed = 1 WHERE id = 'c'");
  EXPECT_EQ(changed(*store, at), Names{"c"});
  shell.run("DELETE FROM keys WHERE tenant = 'b'; DELETE FROM tenants WHERE id = 'b'");
  EXPECT_EQ(changed(*store, at), Names{"b"});
  shell.run("UPDATE tenants SET last_active = 5");
  EXPECT_EQ(changed(*store, at), Names{});

  EXPECT_EQ(store->counts(call_)->tenants, 1U);
  EXPECT_EQ(store->find_active_key(call_, tenant_id("c"), KeyType::signing).error().code,
            ErrorCode::destroyed);
  EXPECT_EQ(store->find_active_key(call_, tenant_id("b"), KeyType::signing).error().code,
            ErrorCode::tenant_not_found);
}

TEST_F(SqliteStore, ATenantMayBeMarkedDestroyedByHandAndUnmarked) {
  const auto store = open();
  ASSERT_TRUE(create(*store, "a"));
  RawSqlite shell(path());
  const auto find = [&] { return store->find_active_key(call_, tenant_id("a"), KeyType::signing); };
  shell.run("UPDATE tenants SET destroyed = 1");
  EXPECT_EQ(find().error().code, ErrorCode::destroyed);
  EXPECT_FALSE(store->counts(call_)->oldest_active_key);
  shell.run(
      "INSERT INTO keys (tenant, type, version, id, state, created_at)"
      " VALUES ('a', 'signing', 2, randomblob(16), 'rotated', 0)");
  EXPECT_EQ(shell.value("SELECT min(tenant_destroyed) FROM keys"), "1");
  shell.run("UPDATE tenants SET destroyed = 0");
  EXPECT_EQ(find()->version, 1U);
  EXPECT_EQ(store->counts(call_)->oldest_active_key, at_ms(1'000));
}

TEST_F(SqliteStore, TotalsFollowEditsByHand) {
  const auto store = open();
  ASSERT_TRUE(create(*store, "a"));
  RawSqlite shell(path());
  shell.run("UPDATE wrappings SET provider = 'aws'");
  const auto counts = *store->wrapping_counts(call_);
  ASSERT_EQ(counts.size(), 1U);
  EXPECT_EQ(counts[0].provider, "aws");
  EXPECT_EQ(counts[0].keys, 2U);
  shell.run("DELETE FROM keys");
  EXPECT_TRUE(store->wrapping_counts(call_)->empty());
  EXPECT_EQ(shell.value("SELECT count(*) FROM wrappings"), "0");
}

TEST_F(SqliteStore, OnRequestItsOwnWritesAreLeftOutAndNobodyElses) {
  const auto ours = open({.skip_own_changes = true});
  const auto theirs = open();
  auto at = *ours->generation(call_);
  ASSERT_TRUE(create(*ours, "a"));
  EXPECT_EQ(changed(*ours, at), Names());
  ASSERT_TRUE(create(*theirs, "b"));
  ASSERT_TRUE(create(*ours, "c"));
  RawSqlite(path()).run("UPDATE keys SET reason = 'by hand' WHERE tenant = 'a'");
  EXPECT_EQ(changed(*ours, at), (Names{"a", "b"}));
  EXPECT_EQ(changed(*ours, at), Names());
}

TEST_F(SqliteStore, ChangesThatTheLogNoLongerHoldsMeanEverything) {
  const auto store = open();
  ASSERT_TRUE(create(*store, "a"));
  RawSqlite shell(path());
  const auto at = *store->generation(call_);
  shell.run("UPDATE keys SET reason = 'x'; DELETE FROM changes WHERE generation <= " +
            std::to_string(at + 1));
  EXPECT_TRUE(store->changes_since(call_, at)->everything);
  EXPECT_FALSE(store->changes_since(call_, at + 1)->everything);
  shell.run("DELETE FROM changes");
  EXPECT_TRUE(store->changes_since(call_, at)->everything);
}

TEST_F(SqliteStore, TheChangeLogIsBounded) {
  const auto store = open();
  RawSqlite shell(path());
  shell.run(
      "INSERT INTO changes (tenant) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
      " WHERE i < 150000) SELECT 'bulk' FROM n");
  EXPECT_TRUE(store->changes_since(call_, 1)->everything);
  for (int i = 0; i < 32; ++i) ASSERT_TRUE(store->reserve(call_, "n", 1, 1'000));
  EXPECT_LE(std::stol(shell.value("SELECT count(*) FROM changes")), 131'072);
  EXPECT_EQ(*store->generation(call_), 150'000U);
}

TEST_F(SqliteStore, TheSchemaGuardsWhatAPersonMightBreak) {
  const auto store = open();
  ASSERT_TRUE(create(*store, "a"));
  RawSqlite shell(path());
  EXPECT_THROW(shell.run("DELETE FROM tenants"), std::runtime_error);
  EXPECT_THROW(shell.run("INSERT INTO keys (tenant, type, version, id, state, created_at)"
                         " VALUES ('a', 'signing', 2, randomblob(16), 'active', 0)"),
               std::runtime_error);
  EXPECT_THROW(shell.run("INSERT INTO keys (tenant, type, version, id, state, created_at)"
                         " VALUES ('nobody', 'signing', 1, randomblob(16), 'active', 0)"),
               std::runtime_error);
  EXPECT_THROW(shell.run("UPDATE keys SET state = 'lost'"), std::runtime_error);
  EXPECT_THROW(shell.run("UPDATE keys SET tenant = 'b'"), std::runtime_error);
  EXPECT_THROW(shell.run("UPDATE tenants SET id = 'b'"), std::runtime_error);
  EXPECT_TRUE(has(*store, "a"));
}

TEST_F(SqliteStore, ADamagedRowIsCorruptAndLeavesTheOthersAlone) {
  const auto store = open();
  ASSERT_TRUE(create(*store, "a"));
  ASSERT_TRUE(create(*store, "b"));
  RawSqlite shell(path());
  shell.run(
      "PRAGMA ignore_check_constraints = ON;"
      "UPDATE keys SET id = x'01' WHERE tenant = 'a' AND type = 'signing'");
  const auto key = store->find_active_key(call_, tenant_id("a"), KeyType::signing);
  ASSERT_FALSE(key);
  EXPECT_EQ(key.error().code, ErrorCode::corrupt);
  EXPECT_TRUE(has(*store, "b"));
}

TEST_F(SqliteStore, WritesThatArriveTogetherAreCommittedTogether) {
  const auto store = open({.busy_timeout = std::chrono::seconds(20)});
  const auto& sqlite = dynamic_cast<const SqliteKeyStore&>(*store);
  constexpr int writers = 64;
  RawSqlite shell(path());
  shell.run("BEGIN IMMEDIATE");
  std::latch calling(writers);
  std::atomic<int> created = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < writers; ++i) {
      threads.emplace_back([&, i] {
        calling.count_down();
        for (int j = 0; j < 4; ++j) created += create(*store, fmt::format("t{}.{}", i, j)) ? 1 : 0;
      });
    }
    calling.wait();
    EXPECT_EQ(sqlite.commits(), 0U);
    shell.run("ROLLBACK");
  }
  EXPECT_EQ(created, writers * 4);
  EXPECT_LE(sqlite.commits(), static_cast<std::uint64_t>(created) / 4);
  EXPECT_GE(sqlite.commits(), 1U);
}

}  // namespace
}  // namespace betrace::kms::testing
