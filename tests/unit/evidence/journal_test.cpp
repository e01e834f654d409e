#include "evidence/journal.h"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <future>

#include "base/durable_file.h"
#include "unit/evidence/journal_fixture.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;

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

TEST_F(JournalTest, ConsumersReadEveryBatchOnceInOrderWhileOthersAppend) {
  segment_bytes_ = 2000;
  bytes_max_ = 1U << 30;
  constexpr int batches = 1200, appenders = 3;
  const auto journal = open();
  std::atomic<int> next = 0;
  std::vector<std::jthread> threads;
  for (const std::string consumer : {"log", "forward"}) {
    threads.emplace_back([&journal, consumer] {
      JournalPosition at = 0;
      for (int expected = 0; expected < batches;) {
        if (!journal->wait_for_more(at, milliseconds(60'000), {})) break;
        const auto read = journal->read(at, 700).value();
        EXPECT_LE(read.next, journal->end());
        for (const auto& record : read.records) {
          ASSERT_EQ(record.bytes, std::to_string(expected++));
        }
        at = read.next;
        ASSERT_TRUE(journal->advance(consumer, at));
        ASSERT_EQ(journal->position(consumer), at);
      }
    });
  }
  for (int t = 0; t < appenders; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < batches / appenders; ++i) {
        journal->append(
            [&]() -> Result<std::vector<JournalRecord>> {
              return std::vector{JournalRecord{.kind = 1, .bytes = std::to_string(next++)}};
            },
            [](const Result<JournalPosition>& done) { EXPECT_TRUE(done); });
        if (i % 16 == 0) {
          EXPECT_TRUE(append(*journal, {}));
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(journal->bytes_behind("log"), 0U);
  EXPECT_FALSE(std::filesystem::exists(file()));
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

TEST_F(JournalTest, AReadOfFewBytesAnswersOneBatch) {
  const auto journal = open();
  EXPECT_TRUE(append(*journal, {"one", "two"}));
  EXPECT_TRUE(append(*journal, {"three"}));
  EXPECT_EQ(journal->read(0, 1).value().records.size(), 2U);
  EXPECT_EQ(read(*journal, 0, 1), (Texts{"one", "two", "three"}));
}

TEST_F(JournalTest, ABatchThatFindsTheJournalFullWhenItsTurnComesIsNeverMade) {
  bytes_max_ = 300;
  // They outlive the journal's thread.
  std::promise<void> all_queued, finished;
  std::atomic<int> made = 0, refused = 0;
  const auto journal = open();
  journal->append(
      [&]() -> Result<std::vector<JournalRecord>> {
        all_queued.get_future().wait();
        return std::vector<JournalRecord>{};
      },
      [](const Result<JournalPosition>&) {});
  constexpr int batches = 5;
  for (int i = 0; i < batches; ++i) {
    journal->append(
        [&]() -> Result<std::vector<JournalRecord>> {
          ++made;
          return std::vector{JournalRecord{.kind = 1, .bytes = std::string(200, 'x')}};
        },
        [&, i](const Result<JournalPosition>& done) {
          if (!done && done.error().code == ErrorCode::overloaded) ++refused;
          if (i == batches - 1) finished.set_value();
        });
  }
  all_queued.set_value();
  finished.get_future().wait();
  EXPECT_LE(made, 2);
  EXPECT_TRUE(append(*journal, {"x"}).error().code == ErrorCode::overloaded);
  EXPECT_EQ(made + refused, batches);
}

TEST_F(JournalTest, AnUnknownConsumerAndNoConsumerAreRefused) {
  EXPECT_EQ(open()->advance("nobody", 1).error().code, ErrorCode::invalid_argument);
  auto none = options();
  none.consumers.clear();
  EXPECT_EQ(Journal::open(none).error().code, ErrorCode::invalid_argument);
}

TEST_F(JournalTest, ItsFilesAreTheOwnersAlone) {
  EXPECT_TRUE(append(*open(), {"x"}));
  using std::filesystem::perms;
  EXPECT_EQ(std::filesystem::status(options().folder).permissions(), perms::owner_all);
  EXPECT_EQ(std::filesystem::status(file()).permissions(), perms::owner_read | perms::owner_write);
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
