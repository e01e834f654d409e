#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>

#include <sys/wait.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/durable_file.h"
#include "unit/evidence/journal_fixture.h"

namespace betrace::kms {
namespace {

using JournalRecovery = JournalTest;

TEST_F(JournalRecovery, ABatchIsWholeOrAbsentWhereverTheFileIsCut) {
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

TEST_F(JournalRecovery, AChangedByteBeforeTheLastWriteIsDamageAndInTheLastOneIsCutOff) {
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

TEST_F(JournalRecovery, PositionsThatCannotBeReadAreTheBeginning) {
  {
    EXPECT_TRUE(append(*open(), {"one"}));
  }
  ASSERT_TRUE(write_file(options().folder + "/positions.json", "{\"log\":"));
  const auto journal = open();
  EXPECT_EQ(journal->position("log"), 0U);
  EXPECT_EQ(read(*journal), Texts{"one"});
}

// As encode_batch() writes it but for eight bytes, with a checksum that is right.
std::string batch_with(const Texts& texts, JournalPosition position, std::size_t at,
                       std::uint64_t number) {
  constexpr std::size_t checksum_at = 24, head_bytes = 32;
  std::vector<JournalRecord> records;
  for (const auto& text : texts) records.push_back({.kind = 7, .bytes = text});
  std::string batch;
  EXPECT_TRUE(encode_batch(records, position, batch));
  std::memcpy(batch.data() + at, &number, sizeof number);
  const auto seed = XXH3_64bits(batch.data(), checksum_at);
  const auto sum = XXH3_64bits_withSeed(batch.data() + head_bytes, batch.size() - head_bytes, seed);
  std::memcpy(batch.data() + checksum_at, &sum, sizeof sum);
  return batch;
}

TEST_F(JournalRecovery, ABatchThatKnowsOfMoreThanIsBeforeItIsNone) {
  constexpr std::size_t durable_at = 8;
  const auto end = append(*open(), {"one"}).value();
  const auto good = read_whole_file(file()).value().value();
  for (const auto ahead : {std::uint64_t{1}, std::uint64_t{1000}, ~std::uint64_t{0} - end}) {
    ASSERT_TRUE(write_file(file(), good + batch_with({"two"}, end, durable_at, end + ahead)));
    EXPECT_EQ(read(*open()), Texts{"one"});
  }
}

TEST_F(JournalRecovery, OfABatchWhoseRecordsAreNotItsBytesNoneIsRead) {
  constexpr std::size_t second_record_at = 32 + 5 + 8;
  const auto end = append(*open(), {"one"}).value();
  const auto good = read_whole_file(file()).value().value();
  ASSERT_TRUE(
      write_file(file(), good + batch_with({"12345678", "second"}, end, second_record_at, 1000)));
  const auto journal = open();
  const auto together = journal->read(0, 1 << 20).value();
  EXPECT_EQ(together.next, end);
  EXPECT_EQ(together.records.size(), 1U);
  EXPECT_EQ(journal->read(end, 1 << 20).error().code, ErrorCode::corrupt);
}

TEST_F(JournalRecovery, AMissingFileIsDamage) {
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

// Each batch is its number, three times; several are under way when the kill comes.
TEST_F(JournalRecovery, WhatWasAcknowledgedIsThereAfterAKill) {
  const int rounds = std::getenv("BETRACE_TORTURE") != nullptr ? 500 : 20;
  segment_bytes_ = 20'000;
  bytes_max_ = 1U << 30;
  std::set<std::uint32_t> acknowledged;
  for (int round = 0; round < rounds; ++round) {
    std::array<int, 2> pipe{};
    ASSERT_EQ(::pipe(pipe.data()), 0);
    const auto child = ::fork();
    if (child == 0) {
      const auto journal = open();
      for (auto number = static_cast<std::uint32_t>(round) << 20U;; ++number) {
        journal->append(
            [number]() -> Result<std::vector<JournalRecord>> {
              return std::vector(3, JournalRecord{.kind = 1, .bytes = std::to_string(number)});
            },
            [number, &pipe](const Result<JournalPosition>& done) {
              if (done) (void)!::write(pipe[1], &number, sizeof number);
            });
        if (number % 8 == 7) (void)append(*journal, {});
      }
    }
    ::close(pipe[1]);
    // How far it comes differs from round to round, and so does the place of the kill.
    for (int i = 0; i < 1 + round * 37 % 400; ++i) {
      std::uint32_t number = 0;
      if (::read(pipe[0], &number, sizeof number) == sizeof number) acknowledged.insert(number);
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    for (std::uint32_t number = 0; ::read(pipe[0], &number, sizeof number) == sizeof number;) {
      acknowledged.insert(number);
    }
    ::close(pipe[0]);
  }
  const auto texts = read(*open(), 0, 1 << 20);
  ASSERT_EQ(texts.size() % 3, 0U);
  std::set<std::uint32_t> there;
  std::uint32_t last = 0;
  for (std::size_t i = 0; i < texts.size(); i += 3) {
    ASSERT_EQ(texts[i], texts[i + 2]);
    const auto number = static_cast<std::uint32_t>(std::stoul(texts[i]));
    EXPECT_TRUE(i == 0 || number > last) << "in order, and once";
    there.insert(last = number);
  }
  EXPECT_TRUE(std::ranges::includes(there, acknowledged));
  EXPECT_GE(acknowledged.size(), static_cast<std::size_t>(rounds));
}

TEST_F(JournalRecovery, AFileThatACrashLeftHalfMadeIsMadeAgain) {
  segment_bytes_ = 100;
  JournalPosition end = 0;
  {
    const auto journal = open();
    end = append(*journal, {std::string(200, 'a')}).value();
  }
  for (const auto& left : {std::string(), std::string("BTKM"), std::string(16, '\0')}) {
    ASSERT_TRUE(write_file(file(end), left));
    const auto journal = open();
    ASSERT_TRUE(journal);
    EXPECT_EQ(journal->end(), end);
  }
  const auto made = read_whole_file(file(end)).value().value();
  ASSERT_TRUE(write_file(file(end), "?"));
  EXPECT_EQ(Journal::open(options()).error().code, ErrorCode::corrupt) << "no crash leaves that";
  ASSERT_TRUE(write_file(file(end), made));
  EXPECT_TRUE(append(*open(), {"b"}));
  EXPECT_EQ(read(*open()).back(), "b");
  // Alone it had been whole once: those before it were there until it was.
  std::filesystem::remove(file());
  ASSERT_TRUE(write_file(file(end), "BTKM"));
  EXPECT_EQ(Journal::open(options()).error().code, ErrorCode::corrupt);
}

TEST_F(JournalRecovery, AnEndThatAConsumerHasReadAndThatIsNotThereIsDamage) {
  JournalPosition first = 0;
  {
    const auto journal = open();
    first = append(*journal, {"one"}).value();
    EXPECT_TRUE(append(*journal, {"two"}));
    EXPECT_TRUE(journal->advance("log", journal->end()));
  }
  std::filesystem::resize_file(file(), 16 + first);
  const auto opened = Journal::open(options());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::corrupt);
  EXPECT_NE(opened.error().message.find("'log'"), std::string::npos);
}

// A disk writes sectors in any order: of three batches in one write, every set of sectors is lost.
TEST_F(JournalRecovery, APowerCutInTheLastWriteTakesWholeBatchesAndNothingBeforeIt) {
  constexpr std::size_t sector_bytes = 512, batches = 3;
  JournalPosition acknowledged = 0;
  {
    std::promise<void> begun, queued;  // outlive the journal's thread
    const auto journal = open();
    EXPECT_TRUE(append(*journal, {"one"}));
    journal->append(
        [&]() -> Result<std::vector<JournalRecord>> {
          begun.set_value();
          queued.get_future().wait();
          return std::vector{JournalRecord{.kind = 1, .bytes = "two"}};
        },
        [&](const Result<JournalPosition>& done) { acknowledged = done.value(); });
    begun.get_future().wait();  // or a write takes this one along with some of the three
    for (std::size_t i = 0; i < batches; ++i) {
      journal->append(
          []() -> Result<std::vector<JournalRecord>> {
            return std::vector{JournalRecord{.kind = 1, .bytes = std::string(1000, 'x')}};
          },
          [](const Result<JournalPosition>&) {});
    }
    queued.set_value();
  }
  const auto whole = read_whole_file(file()).value().value();
  const auto begin = static_cast<std::size_t>(16 + acknowledged);
  const auto batch_bytes = (whole.size() - begin) / batches;
  const auto first_sector = begin / sector_bytes;
  const auto sectors = (whole.size() - 1) / sector_bytes - first_sector + 1;
  for (std::size_t lost = 0; lost < std::size_t{1} << sectors; ++lost) {
    auto left = whole;
    for (std::size_t i = 0; i < sectors; ++i) {
      if ((lost >> i & 1U) == 0) continue;
      const auto from = std::max(begin, (first_sector + i) * sector_bytes);
      const auto to = std::min(whole.size(), (first_sector + i + 1) * sector_bytes);
      std::fill(left.begin() + static_cast<int>(from), left.begin() + static_cast<int>(to), '\0');
    }
    ASSERT_TRUE(write_file(file(), left));
    Texts expected{"one", "two"};
    for (auto at = begin; at < whole.size(); at += batch_bytes) {
      if (left.compare(at, batch_bytes, whole, at, batch_bytes) != 0) break;
      expected.emplace_back(1000, 'x');
    }
    const auto opened = Journal::open(options());
    ASSERT_TRUE(opened) << lost << opened.error().message;
    ASSERT_EQ(read(**opened), expected) << lost;
  }
}

// A killed process leaves in the page cache what never reached the disk; it reads like the rest.
TEST_F(JournalRecovery, WhatOpeningFindsBehindTheLastKnownWriteIsForcedToTheDiskAgain) {
  JournalPosition first = 0, end = 0;
  {
    const auto journal = open();
    first = append(*journal, {"one"}).value();
    end = append(*journal, {"two"}).value();
  }
  std::string again;
  int synchronised = 0;
  auto disk = JournalDisk::real();
  const auto real = disk;
  disk.write = [&](int file, const char* data, std::size_t size) {
    EXPECT_EQ(::lseek(file, 0, SEEK_CUR), static_cast<off_t>(16 + first));
    again.append(data, size);
    return real.write(file, data, size);
  };
  disk.synchronise = [&](int file) {
    ++synchronised;
    return real.synchronise(file);
  };
  const auto before = read_whole_file(file()).value().value();
  EXPECT_EQ(read(*open(disk)), (Texts{"one", "two"}));
  EXPECT_EQ(again.size(), end - first);
  EXPECT_EQ(synchronised, 1);
  EXPECT_EQ(read_whole_file(file()).value().value(), before);
  disk.synchronise = [](int) {
    errno = EIO;
    return -1;
  };
  EXPECT_EQ(Journal::open(options(), disk).error().code, ErrorCode::store_unavailable);
}

TEST_F(JournalRecovery, ARecordThatLooksLikeABatchIsNotTakenForOne) {
  std::string inner;
  ASSERT_TRUE(encode_batch({{.kind = 1, .bytes = "forged"}}, 1'000'000, inner));
  {
    EXPECT_TRUE(append(*open(), {"before"}));
    EXPECT_TRUE(append(*open(), {inner, "padding"}));
  }
  std::filesystem::resize_file(file(), std::filesystem::file_size(file()) - 1);
  EXPECT_EQ(read(*open()), Texts{"before"});
}

TEST_F(JournalRecovery, DamageInAnEarlierFileIsNamedAtEveryByte) {
  segment_bytes_ = 60;
  {
    const auto journal = open();
    EXPECT_TRUE(append(*journal, {std::string(30, 'a')}));
    EXPECT_TRUE(append(*journal, {"b"}));
  }
  const auto whole = read_whole_file(file()).value().value();
  for (std::size_t i = 0; i < whole.size(); ++i) {
    auto bad = whole;
    bad[i] = static_cast<char>(bad[i] ^ 0x80);
    ASSERT_TRUE(write_file(file(), bad));
    const auto opened = Journal::open(options());
    ASSERT_FALSE(opened) << i;
    EXPECT_EQ(opened.error().code, ErrorCode::corrupt);
    EXPECT_NE(opened.error().message.find(file()), std::string::npos);
    ASSERT_TRUE(write_file(file(), whole.substr(0, i)));
    EXPECT_EQ(Journal::open(options()).error().code, ErrorCode::corrupt) << i;
  }
}

}  // namespace
}  // namespace betrace::kms
