#include "base/durable_file.h"

#include <fstream>
#include <thread>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/temporary_directory.h"

namespace betrace::kms {
namespace {

TEST(DurableFile, AFileThatIsNotThereReadsAsNothing) {
  const TemporaryDirectory folder;
  const auto text = read_whole_file(folder.file("absent"));
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_FALSE(text->has_value());
}

TEST(DurableFile, ReplacingChangesTheWholeFileAndNobodyElseMayReadIt) {
  const TemporaryDirectory folder;
  const auto path = folder.file("mark");
  ASSERT_TRUE(replace_file(path, "a long first text"));
  ASSERT_TRUE(replace_file(path, "second"));
  EXPECT_EQ(read_whole_file(path).value(), "second");
  struct stat status{};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST(DurableFile, AnAppendedLineBeginsAtTheLineStartAlsoAfterATornOne) {
  const TemporaryDirectory folder;
  const auto path = folder.write("lines", "whole\ntor");
  ASSERT_TRUE(append_line(path, "next"));
  ASSERT_TRUE(append_line(path, "last"));
  EXPECT_EQ(read_whole_file(path).value(), "whole\ntor\nnext\nlast\n");
}

TEST(DurableFile, AnErrorNamesTheFileAndTheReason) {
  const TemporaryDirectory folder;
  const auto written = replace_file(folder.file("no/such/mark"), "x");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::store_unavailable);
  EXPECT_NE(written.error().message.find("no/such/mark"), std::string::npos);
  EXPECT_NE(written.error().message.find("No such file"), std::string::npos);
}

TEST(DurableFile, AFailureLeavesNoDraft) {
  const TemporaryDirectory folder;
  const auto path = folder.file("taken");
  ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
  EXPECT_FALSE(write_file(path, "text"));
  EXPECT_FALSE(read_whole_file(path + ".new").value());
}

TEST(DurableFile, WhatRootMakesBelongsToTheFoldersOwner) {
  if (geteuid() != 0) return;  // nobody else may give files away
  const TemporaryDirectory folder;
  constexpr uid_t nobody = 65534;
  ASSERT_EQ(chown(folder.path().c_str(), nobody, nobody), 0);
  ASSERT_TRUE(replace_file(folder.file("mark"), "x"));
  ASSERT_TRUE(append_line(folder.file("lines"), "x"));
  ASSERT_TRUE(FolderLock::take(folder.path()));
  for (const auto* name : {"mark", "lines", ".lock"}) {
    struct stat status{};
    ASSERT_EQ(stat(folder.file(name).c_str(), &status), 0);
    EXPECT_EQ(status.st_uid, nobody) << name;
    EXPECT_EQ(status.st_mode & 0777, 0600U) << name;
  }
}

TEST(DurableFile, OneHolderOfAFolderLockAtATime) {
  const TemporaryDirectory folder;
  const auto path = folder.file("count");
  ASSERT_TRUE(replace_file(path, "0"));
  const auto add = [&] {
    for (int i = 0; i < 50; ++i) {
      const auto lock = FolderLock::take(folder.path());
      ASSERT_TRUE(lock);
      const auto number = std::stoi(**read_whole_file(path));
      ASSERT_TRUE(replace_file(path, std::to_string(number + 1)));
    }
  };
  std::thread other(add);
  add();
  other.join();
  EXPECT_EQ(read_whole_file(path).value(), "100");
}

}  // namespace
}  // namespace betrace::kms
