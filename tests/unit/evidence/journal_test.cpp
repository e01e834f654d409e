#include "evidence/journal.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <future>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/durable_file.h"
#include "support/temporary_directory.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;
using Texts = std::vector<std::string>;

class JournalTest : public ::testing::Test {
 protected:
  JournalOptions options() const {
    return {.folder = folder_.path() + "/journal",
            .consumers = {"log", "forward"},
            .bytes_max = bytes_max_,
            .segment_bytes = segment_bytes_};
  }
  std::unique_ptr<Journal> open(JournalDisk disk = JournalDisk::real()) const {
    auto journal = Journal::open(options(), std::move(disk));
    EXPECT_TRUE(journal) << journal.error().message;
    return journal ? *std::move(journal) : nullptr;
  }
  static Result<JournalPosition> append(Journal& journal, const Texts& texts) {
    std::promise<Result<JournalPosition>> promise;
    journal.append(
        [&]() -> Result<std::vector<JournalRecord>> {
          std::vector<JournalRecord> records;
          for (const auto& text : texts) records.push_back({.kind = 7, .bytes = text});
          return records;
        },
        [&](Result<JournalPosition> done) { promise.set_value(std::move(done)); });
    return promise.get_future().get();
  }
  static Texts read(const Journal& journal, JournalPosition from = 0, std::size_t bytes = 100) {
    Texts texts;
    for (;;) {
      auto batches = journal.read(from, bytes);
      if (!batches) return {batches.error().message};
      if (batches->next == from) return texts;
      from = batches->next;
      for (auto& record : batches->records) texts.push_back(std::move(record.bytes));
    }
  }
  std::string file(JournalPosition first = 0) const {
    return JournalSegment::path_of(options().folder, first);
  }

  TemporaryDirectory folder_;
  std::uint64_t bytes_max_ = 1 << 20, segment_bytes_ = 1 << 16;
};

TEST_F(JournalTest, WhatWasAppendedIsThereAfterReopening) {
  {
    const auto journal = open();
    EXPECT_TRUE(append(*journal, {"one", "", std::string(1000, 'x')}));
    EXPECT_TRUE(append(*journal, {"two"}));
  }
  const auto journal = open();
  EXPECT_EQ(read(*journal), (Texts{"one", "", std::string(1000, 'x'), "two"}));
  EXPECT_TRUE(append(*journal, {"three"}));
  EXPECT_EQ(read(*journal).back(), "three");
}

TEST_F(JournalTest, ABatchIsWholeOrAbsentWhereverTheFileIsCut) {
  std::vector<JournalPosition> ends{0};
  {
    const auto journal = open();
    for (const auto& batch : {Texts{"a", "b"}, Texts{"c"}, Texts{"d", "e", "f"}}) {
      ends.push_back(append(*journal, batch).value());
    }
  }
  const auto whole = read_whole_file(file()).value().value();
  const Texts all{"a", "b", "c", "d", "e", "f"};
  const std::vector<std::size_t> counts{0, 2, 3, 6};
  for (std::size_t size = 16; size <= whole.size(); ++size) {
    ASSERT_TRUE(write_file(file(), whole.substr(0, size)));
    const auto journal = open();
    std::size_t batches = 0;
    while (batches + 1 < ends.size() && 16 + ends[batches + 1] <= size) ++batches;
    EXPECT_EQ(read(*journal), Texts(all.begin(), all.begin() + static_cast<int>(counts[batches])));
    EXPECT_EQ(journal->end(), ends[batches]);
    EXPECT_TRUE(append(*journal, {"more"}));
  }
}

TEST_F(JournalTest, AChangedByteBeforeTheLastWriteIsDamageAndInTheLastOneIsCutOff) {
  JournalPosition second = 0;
  {
    const auto journal = open();
    EXPECT_TRUE(append(*journal, {"first"}));
    second = append(*journal, {"second"}).value();
    EXPECT_TRUE(append(*journal, {"last"}));
  }
  const auto whole = read_whole_file(file()).value().value();
  for (std::size_t i = 0; i < whole.size(); ++i) {
    auto bad = whole;
    bad[i] = static_cast<char>(bad[i] ^ 4);
    ASSERT_TRUE(write_file(file(), bad));
    const auto opened = Journal::open(options());
    if (i < 16 + second) {
      ASSERT_FALSE(opened) << i;
      EXPECT_EQ(opened.error().code, ErrorCode::corrupt);
      EXPECT_NE(opened.error().message.find(file()), std::string::npos);
    } else {
      ASSERT_TRUE(opened) << i << opened.error().message;
      EXPECT_EQ(read(**opened), (Texts{"first", "second"}));
    }
  }
}

TEST_F(JournalTest, ConsumersGoOnWhereTheyWereAndWhatAllHavePassedIsRemoved) {
  segment_bytes_ = 500;
  {
    const auto journal = open();
    for (int i = 0; i < 50; ++i) EXPECT_TRUE(append(*journal, {std::string(100, 'a')}));
    EXPECT_TRUE(journal->advance("log", journal->end()));
    EXPECT_TRUE(std::filesystem::exists(file()));
    EXPECT_TRUE(journal->advance("forward", journal->end() / 2));
    EXPECT_FALSE(std::filesystem::exists(file()));
  }
  const auto journal = open();
  EXPECT_EQ(journal->position("log"), journal->end());
  EXPECT_EQ(journal->bytes_behind("forward"), journal->end() - journal->position("forward"));
  EXPECT_TRUE(append(*journal, {"new"}));
  EXPECT_EQ(read(*journal, journal->position("log")), Texts{"new"});
  EXPECT_FALSE(journal->read(0, 100)) << "what is gone is not taken for empty";
}

TEST_F(JournalTest, PositionsThatCannotBeReadAreTheBeginning) {
  {
    EXPECT_TRUE(append(*open(), {"one"}));
  }
  ASSERT_TRUE(write_file(options().folder + "/positions.json", "{\"log\":"));
  const auto journal = open();
  EXPECT_EQ(journal->position("log"), 0U);
  EXPECT_EQ(read(*journal), Texts{"one"});
}

TEST_F(JournalTest, AMissingFileIsDamage) {
  segment_bytes_ = 200;
  {
    const auto journal = open();
    for (int i = 0; i < 9; ++i) EXPECT_TRUE(append(*journal, {std::string(150, 'a')}));
  }
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(options().folder)) {
    files.push_back(entry.path());
  }
  std::ranges::sort(files);
  std::filesystem::remove(files[2]);
  const auto opened = Journal::open(options());
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("missing"), std::string::npos);
}

TEST_F(JournalTest, AFullJournalRefusesUntilItsSlowestConsumerHasGoneOn) {
  bytes_max_ = 300;
  const auto journal = open();
  EXPECT_TRUE(append(*journal, {std::string(400, 'a')}));
  EXPECT_TRUE(journal->advance("log", journal->end()));
  const auto refused = append(*journal, {"b"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::overloaded);
  EXPECT_NE(refused.error().message.find("'forward'"), std::string::npos);
  EXPECT_TRUE(journal->advance("forward", journal->end()));
  EXPECT_TRUE(append(*journal, {"b"}));
}

TEST_F(JournalTest, ManyThreadsAppendAndEveryBatchIsThereInTheOrderOfItsNumber) {
  segment_bytes_ = 4000;
  int next = 0;  // on the journal's thread
  std::atomic<int> acknowledged = 0;
  {
    const auto journal = open();
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 250; ++i) {
          journal->append(
              [&]() -> Result<std::vector<JournalRecord>> {
                return std::vector{JournalRecord{.kind = 1, .bytes = std::to_string(next++)}};
              },
              [&](const Result<JournalPosition>& done) { acknowledged += done ? 1 : 0; });
        }
      });
    }
  }
  EXPECT_EQ(acknowledged, 1000);
  const auto texts = read(*open());
  ASSERT_EQ(texts.size(), 1000U);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(texts[static_cast<std::size_t>(i)], std::to_string(i));
}

TEST_F(JournalTest, ABatchThatCannotBeMadeIsRefusedAlone) {
  const auto journal = open();
  std::promise<ErrorCode> refused;
  journal->append(
      [] { return fail(ErrorCode::corrupt, "no"); },
      [&](const Result<JournalPosition>& done) { refused.set_value(done.error().code); });
  EXPECT_EQ(refused.get_future().get(), ErrorCode::corrupt);
  EXPECT_TRUE(append(*journal, {"good"}));
  EXPECT_EQ(read(*journal), Texts{"good"});
}

// Each call of the disk fails once, in every way it can, while batches go in.
TEST_F(JournalTest, WhatADiskRefusesIsRefusedAndNeverHalfThere) {
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

TEST_F(JournalTest, WhatWasAcknowledgedIsThereAfterAKill) {
  const int rounds = std::getenv("BETRACE_TORTURE") != nullptr ? 500 : 20;
  segment_bytes_ = 20'000;
  std::size_t known = 0;
  for (int round = 0; round < rounds; ++round) {
    std::array<int, 2> pipe{};
    ASSERT_EQ(::pipe(pipe.data()), 0);
    const auto child = ::fork();
    if (child == 0) {
      const auto journal = open();
      for (;;) {
        if (append(*journal, {std::string(300, 'r')})) (void)!::write(pipe[1], "k", 1);
      }
    }
    ::close(pipe[1]);
    ::usleep(static_cast<useconds_t>(2000 + round * 7919 % 9000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    std::array<char, 4096> buffer{};
    for (ssize_t count = 0; (count = ::read(pipe[0], buffer.data(), buffer.size())) > 0;) {
      known += static_cast<std::size_t>(count);
    }
    ::close(pipe[0]);
  }
  const auto texts = read(*open(), 0, 1 << 20);
  EXPECT_GT(known, 0U);
  EXPECT_GE(texts.size(), known);
  EXPECT_LE(texts.size(), known + static_cast<std::size_t>(rounds)) << "one each was under way";
}

TEST_F(JournalTest, WhoWaitsForMoreIsWokenByIt) {
  const auto journal = open();
  std::stop_source stop;
  EXPECT_FALSE(journal->wait_for_more(0, milliseconds(1), stop.get_token()));
  auto waiting = std::async(std::launch::async, [&] {
    return journal->wait_for_more(0, milliseconds(60'000), stop.get_token());
  });
  EXPECT_TRUE(append(*journal, {"x"}));
  EXPECT_TRUE(waiting.get());
  auto stopped = std::async(std::launch::async, [&] {
    return journal->wait_for_more(journal->end(), milliseconds(60'000), stop.get_token());
  });
  stop.request_stop();
  EXPECT_FALSE(stopped.get());
}

}  // namespace
}  // namespace betrace::kms
