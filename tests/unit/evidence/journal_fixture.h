// A journal in a folder of the test's own, written and read as texts.
#pragma once

#include <future>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "evidence/journal.h"
#include "support/temporary_directory.h"

namespace betrace::kms {

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

}  // namespace betrace::kms
