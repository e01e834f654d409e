// A file that all have passed is written again: what it had before is never read.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include <sys/stat.h>

#include "unit/evidence/journal_fixture.h"

namespace betrace::kms {
namespace {

class JournalSpare : public JournalTest {
 protected:
  JournalSpare() { segment_bytes_ = 2000; }

  std::unique_ptr<Journal> written_twice() {
    auto journal = open();
    add(*journal, 60, 37);
    pass_all(*journal);
    add(*journal, 30, 37);  // the file before is full on the way
    add(*journal, 5, 11);
    return journal;
  }
  void add(Journal& journal, int count, std::size_t bytes) {
    for (int i = 0; i < count; ++i) {
      texts_.push_back(std::to_string(texts_.size()) + std::string(bytes, 'x'));
      EXPECT_TRUE(append(journal, {texts_.back()}));
    }
  }
  void pass_all(Journal& journal) {
    for (const auto& consumer : options().consumers) {
      ASSERT_TRUE(journal.advance(consumer, journal.end()));
    }
  }
  Texts last_texts(std::size_t count) const {
    return {texts_.end() - static_cast<std::ptrdiff_t>(count), texts_.end()};
  }
  std::vector<std::filesystem::path> segments() const {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(options().folder)) {
      if (entry.path().extension() == ".journal") found.push_back(entry.path());
    }
    std::ranges::sort(found);
    return found;
  }
  bool has_spare() const { return std::filesystem::exists(options().folder + "/spare"); }

  Texts texts_;
};

// Each file keeps a second name, or the file system would give its number to another one.
TEST_F(JournalSpare, ItsBlocksAreUsedAgainAndNoMoreThanOneIsKept) {
  constexpr std::size_t rounds = 50;
  const auto journal = open();
  std::set<std::string> names;
  std::set<ino_t> files;
  for (std::size_t round = 0; round < rounds; ++round) {
    add(*journal, 20, 150);
    for (const auto& path : segments()) {
      struct stat found{};
      ASSERT_EQ(::stat(path.c_str(), &found), 0);
      files.insert(found.st_ino);
      if (!names.insert(path.filename()).second) continue;
      std::filesystem::create_hard_link(path, folder_.file(path.filename().string()));
    }
    pass_all(*journal);
    EXPECT_LE(segments().size(), 1U);
    EXPECT_TRUE(has_spare());
  }
  EXPECT_GE(names.size() - files.size(), rounds - 1) << "one in each round but the first";
}

TEST_F(JournalSpare, WhatItHadBeforeIsNotReadWhereverTheNewBatchesEnd) {
  for (std::size_t bytes = 1; bytes < 200; bytes += 3) {
    {
      const auto journal = open();
      add(*journal, 60, 37);  // of one size, so that new batches may end where old ones do
      pass_all(*journal);
      add(*journal, 30, bytes);
      EXPECT_EQ(read(*journal, journal->position("log")), last_texts(30));
    }
    const auto journal = open();
    EXPECT_EQ(read(*journal, journal->position("log")), last_texts(30)) << bytes;
    EXPECT_FALSE(has_spare());
    pass_all(*journal);
  }
}

TEST_F(JournalSpare, DamageInItIsNoticedAndATornEndIsCutOff) {
  JournalPosition from = 0, before_last = 0;
  {
    const auto journal = written_twice();
    from = journal->position("log");
    before_last = journal->end() - 32 - 5 - texts_.back().size();
  }
  const auto path = segments().back();
  const auto first = std::stoull(path.stem().string());
  ASSERT_GT(std::filesystem::file_size(path), 16 + before_last - first + 100) << "an old end";
  const auto change = [&](JournalPosition at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(16 + at - first));
    file.put('!');
  };
  change(before_last + 32 + 5);
  {
    const auto journal = open();
    EXPECT_EQ(read(*journal, from), Texts(texts_.end() - 35, texts_.end() - 1));
    EXPECT_EQ(journal->end(), before_last);
    texts_.pop_back();
    add(*journal, 2, 11);
  }
  change(first + 32 + 5);
  const auto opened = Journal::open(options());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::corrupt);
}

TEST_F(JournalSpare, ADiskThatRefusesItGetsAFreshOne) {
  bool refuse = false;
  auto disk = JournalDisk::real();
  disk.write = [&, real = disk.write](int file, const char* data, std::size_t size) {
    if (refuse && size == 16) {
      refuse = false;
      errno = EIO;
      return std::ptrdiff_t{-1};
    }
    return real(file, data, size);
  };
  const auto journal = open(disk);
  add(*journal, 60, 37);
  pass_all(*journal);
  ASSERT_TRUE(has_spare());
  refuse = true;
  add(*journal, 60, 37);
  EXPECT_FALSE(refuse);
  EXPECT_EQ(read(*journal, journal->position("log")), last_texts(60));
}

}  // namespace
}  // namespace betrace::kms
