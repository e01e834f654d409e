#include "app/admin_token.h"

#include <filesystem>
#include <set>
#include <thread>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encoding.h"
#include "support/temporary_directory.h"

namespace betrace::kms {
namespace {

mode_t mode_of(const std::string& path) {
  struct stat status{};
  EXPECT_EQ(stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777;
}

TEST(AdminToken, IsMadeOnceWithThirtyTwoRandomBytesForItsOwnerOnly) {
  const TemporaryDirectory directory;
  const auto path = directory.file("admin-token");
  const auto token = read_or_make_token_file(path);
  ASSERT_TRUE(token) << token.error().message;
  EXPECT_EQ(base64url_decode(*token)->size(), 32U);
  EXPECT_EQ(mode_of(path), 0600U);
  EXPECT_EQ(*read_or_make_token_file(path), *token);
  EXPECT_EQ(*read_token_file(path), *token);
}

TEST(AdminToken, OfManyProcessesThatMakeItAtOnceAllGetTheSame) {
  const TemporaryDirectory directory;
  const auto path = directory.file("admin-token");
  std::mutex mutex;
  std::set<std::string> seen;
  {
    std::vector<std::jthread> racers;
    for (int i = 0; i < 16; ++i) {
      racers.emplace_back([&] {
        const auto token = read_or_make_token_file(path);
        const std::lock_guard lock(mutex);
        seen.insert(token ? std::string(*token) : token.error().message);
      });
    }
  }
  EXPECT_EQ(seen.size(), 1U);
  // No draft of a loser stays behind.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
}

TEST(AdminToken, LineEndIsNotPartOfIt) {
  const TemporaryDirectory directory;
  EXPECT_EQ(*read_token_file(directory.write("t", "s3cret\r\n")), "s3cret");
}

TEST(AdminToken, AMissingFileIsNamed) {
  const TemporaryDirectory directory;
  const auto token = read_token_file(directory.file("none"));
  ASSERT_FALSE(token);
  EXPECT_EQ(token.error().code, ErrorCode::not_found);
  EXPECT_NE(token.error().message.find(directory.file("none")), std::string::npos);
  EXPECT_NE(token.error().message.find("No such file"), std::string::npos);
}

TEST(AdminToken, WhatIsNoTokenIsRefusedWithoutShowingIt) {
  const TemporaryDirectory directory;
  for (const std::string content : {"", "\n", "two words", "line\nline", "tab\t", "caf\xc3\xa9"}) {
    const auto token = read_token_file(directory.write("t", content));
    ASSERT_FALSE(token) << content;
    EXPECT_EQ(token.error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(token.error().message.find("two words"), std::string::npos);
  }
  EXPECT_FALSE(read_token_file(directory.write("t", std::string(5000, 'a'))));
}

TEST(AdminToken, ADirectoryInItsPlaceIsNotReplaced) {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory.file("admin-token"));
  EXPECT_FALSE(read_or_make_token_file(directory.file("admin-token")));
  EXPECT_TRUE(std::filesystem::is_directory(directory.file("admin-token")));
}

TEST(AdminToken, AnEmptyFileIsNotReplacedEither) {
  const TemporaryDirectory directory;
  const auto path = directory.write("admin-token", "");
  EXPECT_FALSE(read_or_make_token_file(path));
  EXPECT_EQ(std::filesystem::file_size(path), 0U);
}

TEST(AdminToken, ReadableByOthersIsSeen) {
  const TemporaryDirectory directory;
  const auto path = directory.write("t", "x");
  chmod(path.c_str(), 0640);
  EXPECT_TRUE(readable_by_others(path));
  chmod(path.c_str(), 0600);
  EXPECT_FALSE(readable_by_others(path));
}

TEST(DataDirectory, IsMadeForItsOwnerOnlyAndKeptAsItIs) {
  const TemporaryDirectory directory;
  const auto path = directory.file("a/b/data");
  ASSERT_TRUE(make_data_directory(path));
  EXPECT_EQ(mode_of(path), 0700U);
  chmod(path.c_str(), 0750);
  ASSERT_TRUE(make_data_directory(path));
  EXPECT_EQ(mode_of(path), 0750U);
}

TEST(DataDirectory, AFileInItsPlaceIsNamed) {
  const TemporaryDirectory directory;
  const auto made = make_data_directory(directory.write("data", "x"));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(made.error().message.find(directory.file("data")), std::string::npos);
  EXPECT_NE(made.error().message.find("betrace.kms.data-dir"), std::string::npos);
}

}  // namespace
}  // namespace betrace::kms
