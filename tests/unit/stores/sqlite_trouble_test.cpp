// What a person is told when the file is not as it should be, and that nothing is lost by it.
#include <csignal>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit/stores/sqlite_fixture.h"

namespace betrace::kms::testing {
namespace {

namespace fs = std::filesystem;

class SqliteTrouble : public SqliteTest {
 protected:
  // Runs `work` in a process of its own; answers what it answered, or nothing when it was killed.
  static std::string in_another_process(const std::function<std::string()>& work) {
    int ends[2];
    if (::pipe(ends) != 0) return "no pipe";
    const pid_t child = ::fork();
    if (child == 0) {
      const auto text = work();
      const auto written = ::write(ends[1], text.data(), text.size());
      ::_exit(written == static_cast<ssize_t>(text.size()) ? 0 : 1);
    }
    ::close(ends[1]);
    std::string text;
    char buffer[4096];
    for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, n);
    ::close(ends[0]);
    ::waitpid(child, nullptr, 0);
    return text;
  }
  // What an ordinary user is told who opens the store; root may write everything.
  std::string opened_by_a_user() const {
    return in_another_process([this]() -> std::string {
      if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) return "still root";
      const auto store = open_sqlite_store({.path = path()});
      return store ? "opened" : store.error().message;
    });
  }
  static std::string content(const std::string& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
};

TEST_F(SqliteTrouble, AMissingFolderIsNamedWithTheCommandThatMakesIt) {
  const auto file = folder().file("no/where/kms.db");
  expect_unavailable(try_open({.path = file}), {file, "does not exist", "mkdir -p -m 700"});
  EXPECT_FALSE(fs::exists(folder().file("no")));
}

TEST_F(SqliteTrouble, AFolderIsNoStore) {
  fs::create_directory(path());
  expect_unavailable(try_open(), {path(), "is not a file"});
}

TEST_F(SqliteTrouble, AFileOfAnotherKindIsRefusedAndNotTouched) {
  const std::string text(5000, 'x');
  std::ofstream(path()) << text;
  expect_unavailable(try_open(), {path(), "is not a SQLite database", "restore a backup"});
  EXPECT_EQ(content(path()), text);
}

TEST_F(SqliteTrouble, ADatabaseOfAnotherProgramIsRefusedAndNotTouched) {
  RawSqlite(path()).run("CREATE TABLE bookmarks (url TEXT); PRAGMA user_version = 1");
  expect_unavailable(try_open(), {path(), "of another program"});
  EXPECT_EQ(RawSqlite(path()).value("SELECT group_concat(name) FROM sqlite_schema"), "bookmarks");
}

TEST_F(SqliteTrouble, ASchemaFromTheFutureNamesBothVersionsAndTheFile) {
  ASSERT_TRUE(create(*open(), "acme"));
  RawSqlite shell(path());
  shell.run("PRAGMA user_version = 99");
  expect_unavailable(try_open(), {path(), "version 99", "up to 2", "newer release"});
  shell.run("PRAGMA user_version = 2");
  EXPECT_TRUE(has(*open(), "acme"));
}

TEST_F(SqliteTrouble, AFileThatMayOnlyBeReadIsRefused) {
  ASSERT_TRUE(create(*open(), "acme"));
  fs::permissions(folder().path(), fs::perms(0777));
  fs::permissions(path(), fs::perms(0444));
  EXPECT_THAT(opened_by_a_user(), ::testing::AllOf(::testing::HasSubstr(path() + " is read-only"),
                                                   ::testing::HasSubstr("write permission")));
  fs::permissions(path(), fs::perms(0000));
  EXPECT_THAT(opened_by_a_user(), ::testing::HasSubstr("may not be opened by this user"));
  fs::permissions(path(), fs::perms(0600));
  EXPECT_TRUE(has(*open(), "acme"));
}

TEST_F(SqliteTrouble, AFolderThatMayNotBeWrittenIsRefused) {
  ASSERT_TRUE(create(*open(), "acme"));
  fs::permissions(path(), fs::perms(0666));
  fs::permissions(folder().path(), fs::perms(0555));
  EXPECT_THAT(opened_by_a_user(),
              ::testing::AllOf(::testing::HasSubstr("the folder " + folder().path().string()),
                               ::testing::HasSubstr("Permission denied")));
  fs::permissions(folder().path(), fs::perms(0700));
}

TEST_F(SqliteTrouble, AnotherProgramsTransactionIsWaitedForAndThenNamed) {
  const auto store = open({.busy_timeout = std::chrono::milliseconds(30)});
  ASSERT_TRUE(create(*store, "before"));
  RawSqlite shell(path());
  for (const auto* begin : {"BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"}) {
    shell.run(begin);
    expect_unavailable(create(*store, "during"), {path(), "is locked by another program", "fuser"});
    EXPECT_TRUE(has(*store, "before"));
    shell.run("ROLLBACK");
  }
  EXPECT_FALSE(has(*store, "during"));
  EXPECT_TRUE(create(*store, "after"));
}

TEST_F(SqliteTrouble, AFileThatAnotherProgramKeepsForItselfIsLocked) {
  ASSERT_TRUE(create(*open(), "acme"));
  {
    RawSqlite shell(path());
    shell.run("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE keys SET reason = 'x'");
    expect_unavailable(try_open({.busy_timeout = std::chrono::milliseconds(30)}),
                       {path(), "is locked by another program"});
  }
  EXPECT_TRUE(has(*open(), "acme"));
}

TEST_F(SqliteTrouble, AFullDiskFailsWritesAndLosesNothing) {
  auto store = open({.pages_max = 60});
  std::vector<std::string> acknowledged;
  auto last = Status();
  for (int i = 0; i < 2'000 && last; ++i) {
    const auto tenant = fmt::format("t{}", i);
    last = create(*store, tenant);
    if (last) acknowledged.push_back(tenant);
  }
  expect_unavailable(last, {path(), "disk is full", "Free space"});
  EXPECT_GT(acknowledged.size(), 10U);
  for (const auto& tenant : acknowledged) EXPECT_TRUE(has(*store, tenant)) << tenant;
  EXPECT_EQ(store->counts(call_)->tenants, acknowledged.size());

  store = open();
  EXPECT_TRUE(create(*store, "after"));
  EXPECT_EQ(store->counts(call_)->tenants, acknowledged.size() + 1);
}

// A file system of its own, where this user may mount one.
TEST_F(SqliteTrouble, AFullFileSystemFailsWritesUntilThereIsRoomAgain) {
  const auto told = in_another_process([this]() -> std::string {
    const auto* where = folder().path().c_str();
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", where, "tmpfs", 0, "size=1m") != 0) {
      return "may not mount";
    }
    auto store = open();
    std::size_t acknowledged = 0;
    auto last = Status();
    for (int i = 0; i < 5'000 && last; ++i) {
      last = create(*store, fmt::format("t{}", i));
      if (last) ++acknowledged;
    }
    if (last) return "never full";
    const auto full = last.error().message;
    if (::mount("tmpfs", where, "tmpfs", MS_REMOUNT, "size=8m") != 0) return "may not remount";
    last = create(*store, "after");
    if (!last) return last.error().message;
    store = open();
    if (store->counts(call_)->tenants != acknowledged + 1) return "tenants were lost";
    return full;
  });
  if (told == "may not mount") GTEST_SKIP() << "this user may not mount a file system";
  EXPECT_THAT(told, ::testing::HasSubstr("disk is full"));
}

TEST_F(SqliteTrouble, AFileThatWasTakenAwayIsNoticedAndTakenUpWhenItIsBack) {
  const auto store = open();
  ASSERT_TRUE(create(*store, "before"));
  ASSERT_TRUE(store->changes_since(call_, 0));
  fs::rename(path(), path() + ".away");
  expect_unavailable(create(*store, "during"), {path(), "moved, replaced or deleted"});
  expect_unavailable(store->changes_since(call_, 0), {path(), "moved, replaced or deleted"});
  std::ofstream(path()) << "";
  expect_unavailable(store->changes_since(call_, 0), {path(), "moved, replaced or deleted"});
  fs::rename(path() + ".away", path());
  EXPECT_TRUE(create(*store, "after"));
  EXPECT_TRUE(has(*store, "before"));
  EXPECT_FALSE(has(*store, "during"));
}

// Only what was acknowledged is promised; what was not may be there whole, never in half.
TEST_F(SqliteTrouble, AKilledDaemonKeepsEveryAcknowledgedTenantWithBothKeys) {
  std::set<std::string> acknowledged;
  for (int round = 0; round < 6; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      const auto store = open();
      std::vector<std::jthread> threads;
      for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&, thread] {
          for (int i = 0;; ++i) {
            const auto tenant = fmt::format("r{}-{}-{}", round, thread, i);
            if (!create(*store, tenant)) ::_exit(2);
            const auto line = tenant + "\n";
            if (::write(ends[1], line.data(), line.size()) < 0) ::_exit(3);
          }
        });
      }
      threads.front().join();
    }
    ::close(ends[1]);
    std::string lines;
    const auto enough = 40U + 10U * static_cast<unsigned>(round);
    char buffer[512];
    const auto receive = [&] {
      const auto n = ::read(ends[0], buffer, sizeof buffer);
      if (n > 0) lines.append(buffer, static_cast<std::size_t>(n));
      return n > 0;
    };
    while (std::ranges::count(lines, '\n') < enough && receive()) {
    }
    ::kill(child, SIGKILL);
    while (receive()) {
    }
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    for (std::size_t at = 0, end; (end = lines.find('\n', at)) != std::string::npos; at = end + 1) {
      acknowledged.insert(lines.substr(at, end - at));
    }

    const auto store = open();
    for (const auto& tenant : acknowledged) ASSERT_TRUE(has(*store, tenant)) << tenant;
    const auto all = store->list_tenants(call_, {.after = "", .limit = 100'000});
    for (const auto& tenant : *all) ASSERT_TRUE(has(*store, tenant.id.str()));
    EXPECT_EQ(store->counts(call_)->tenants, all->size());
  }
  EXPECT_GE(acknowledged.size(), 240U);
}

}  // namespace
}  // namespace betrace::kms::testing
