#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>

#include "unit/evidence/journal_fixture.h"

namespace betrace::kms {
namespace {

using JournalFaults = JournalTest;

// Each call of the disk fails once, in every way it can, while batches go in.
TEST_F(JournalFaults, WhatADiskRefusesIsRefusedAndNeverHalfThere) {
  segment_bytes_ = 300;
  enum class Fault { no_space, half_written, not_synchronised };
  for (const auto fault : {Fault::no_space, Fault::half_written, Fault::not_synchronised}) {
    for (int at = 2; at < 28; ++at) {
      TemporaryDirectory folder;
      auto its_options = options();
      its_options.folder = folder.path();
      int calls = 0;
      auto disk = JournalDisk::real();
      const auto real = disk;
      disk.write = [&](int file, const char* data, std::size_t size) -> std::ptrdiff_t {
        if (fault == Fault::not_synchronised || ++calls != at) return real.write(file, data, size);
        errno = ENOSPC;
        if (fault == Fault::half_written) (void)real.write(file, data, size / 2);
        return -1;
      };
      disk.synchronise = [&](int file) {
        if (fault != Fault::not_synchronised || ++calls != at) return real.synchronise(file);
        errno = EIO;
        return -1;
      };
      Texts kept;
      {
        const auto journal = Journal::open(its_options, disk).value();
        for (int i = 0; i < 20; ++i) {
          const auto text = std::to_string(i) + std::string(100, 'x');
          const auto done = append(*journal, {text});
          if (done) kept.push_back(text);
          if (!done) {
            EXPECT_EQ(done.error().code, ErrorCode::store_unavailable);
          }
          EXPECT_EQ(read(*journal), kept);
        }
      }
      EXPECT_EQ(kept.size(), 19U) << "fault " << static_cast<int>(fault) << " at " << at;
      EXPECT_EQ(read(*Journal::open(its_options).value()), kept);
    }
  }
}

TEST_F(JournalFaults, ShortWritesGoOnWhereTheyEnded) {
  auto disk = JournalDisk::real();
  const auto real = disk;
  disk.write = [&](int file, const char* data, std::size_t size) {
    return real.write(file, data, std::min<std::size_t>(size, 7));
  };
  const auto journal = open(disk);
  EXPECT_TRUE(append(*journal, {std::string(100, 'a'), "b"}));
  EXPECT_EQ(read(*journal), (Texts{std::string(100, 'a'), "b"}));
}

// After a failed fsync nothing is taken until the tail is cut; not cut, it stays refused.
TEST_F(JournalFaults, AJournalWhoseEndCannotBeCutRefusesUntilItCan) {
  std::atomic<bool> bad = false;
  auto disk = JournalDisk::real();
  const auto real = disk;
  const auto failing = [&] {
    errno = EIO;
    return bad.load();
  };
  disk.synchronise = [&](int file) { return failing() ? -1 : real.synchronise(file); };
  disk.truncate = [&](int file, std::int64_t size) {
    return failing() ? -1 : real.truncate(file, size);
  };
  const auto journal = open(disk);
  EXPECT_TRUE(append(*journal, {"one"}));
  bad = true;
  for (int i = 0; i < 3; ++i) {
    const auto refused = append(*journal, {"lost"});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::store_unavailable);
    EXPECT_NE(refused.error().message.find(file()), std::string::npos);
    EXPECT_EQ(read(*journal), Texts{"one"});
  }
  bad = false;
  EXPECT_TRUE(append(*journal, {"two"}));
  EXPECT_EQ(read(*journal), (Texts{"one", "two"}));
  EXPECT_EQ(std::filesystem::file_size(file()), 16 + 32 + 5 + 3U);
}

// Nobody can say whether it is there; but what was acknowledged before it is, and it is whole or
// absent.
TEST_F(JournalFaults, AWriteThatFailedAndWasNotCutOffIsWholeOrAbsentAfterARestart) {
  for (const std::size_t written : {0U, 10U, 60U, 1000U}) {
    TemporaryDirectory folder;
    auto its_options = options();
    its_options.folder = folder.path();
    std::atomic<bool> bad = false;
    auto disk = JournalDisk::real();
    const auto real = disk;
    disk.write = [&](int file, const char* data, std::size_t size) {
      return real.write(file, data, bad ? std::min(written, size) : size);
    };
    disk.synchronise = [&](int file) {
      errno = EIO;
      return bad ? -1 : real.synchronise(file);
    };
    disk.truncate = [](int, std::int64_t) {
      errno = EROFS;
      return -1;
    };
    {
      const auto journal = Journal::open(its_options, disk).value();
      EXPECT_TRUE(append(*journal, {"one"}));
      bad = true;
      EXPECT_FALSE(append(*journal, {std::string(100, 'x')}));
    }
    const auto texts = read(*Journal::open(its_options).value());
    ASSERT_FALSE(texts.empty());
    EXPECT_EQ(texts.front(), "one");
    EXPECT_LE(texts.size(), 2U);
    EXPECT_EQ(texts.back(), texts.size() == 1 ? "one" : std::string(100, 'x'));
  }
}

TEST_F(JournalFaults, AFileThatCouldNotBeMadeDoesNotStandInTheWayOfTheNext) {
  segment_bytes_ = 50;
  std::atomic<bool> full = false;
  auto disk = JournalDisk::real();
  const auto real = disk;
  disk.synchronise = [&](int file) {
    errno = ENOSPC;
    return full ? -1 : real.synchronise(file);
  };
  const auto journal = open(disk);
  const auto end = append(*journal, {std::string(60, 'a')}).value();
  full = true;
  EXPECT_FALSE(append(*journal, {"b"}));
  EXPECT_FALSE(std::filesystem::exists(file(end)));
  full = false;
  EXPECT_TRUE(append(*journal, {"c"}));
  EXPECT_EQ(read(*journal), (Texts{std::string(60, 'a'), "c"}));
}

TEST_F(JournalFaults, AFileThatCannotBeRemovedLeavesNoHoleBehindIt) {
  segment_bytes_ = 50;
  JournalPosition second = 0;
  {
    const auto journal = open();
    second = append(*journal, {std::string(60, 'a')}).value();
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(append(*journal, {std::string(60, 'b')}));
    // A folder that is not empty in its place cannot be removed, whoever asks, nor kept as a spare
    // where there is one.
    std::filesystem::create_directories(options().folder + "/spare");
    std::filesystem::rename(file(), file() + ".kept");
    std::filesystem::create_directories(file() + "/x");
    EXPECT_TRUE(journal->advance("log", journal->end()));
    EXPECT_TRUE(journal->advance("forward", journal->end()));
    EXPECT_TRUE(std::filesystem::exists(file(second)));
    std::filesystem::remove_all(file());
    std::filesystem::rename(file() + ".kept", file());
  }
  const auto journal = open();
  ASSERT_TRUE(journal);
  EXPECT_TRUE(append(*journal, {"c"}));
  EXPECT_TRUE(journal->advance("log", journal->end()));
  EXPECT_TRUE(journal->advance("forward", journal->end()));
  EXPECT_FALSE(std::filesystem::exists(file()));
  EXPECT_FALSE(std::filesystem::exists(file(second)));
}

}  // namespace
}  // namespace betrace::kms
