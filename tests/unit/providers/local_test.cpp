#include "providers/local.h"

#include <barrier>
#include <set>
#include <thread>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "provider_world.h"
#include "providers/local_master_key.h"
#include "telemetry/log.h"
#include "temporary_folder.h"

namespace betrace::kms {
namespace {

const EncryptionContext context{{"keyType", "signing"}, {"tenantId", "T"}};

mode_t mode_of(const std::string& path) {
  struct stat about{};
  EXPECT_EQ(::stat(path.c_str(), &about), 0) << path;
  return about.st_mode & 07777;
}

std::string text_of(const SecretBytes& key) { return std::string(as_text(key.expose())); }

TEST(LocalMasterKey, IsMadeOnceWith32BytesForItsOwnerOnly) {
  const TemporaryFolder folder;
  const mode_t before = ::umask(0);
  const auto key = open_master_key(folder.file("m.key"), true);
  ::umask(before);
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_EQ(mode_of(folder.file("m.key")), 0600u);
  EXPECT_EQ(folder.read("m.key"), text_of(*key));
  EXPECT_EQ(key->size(), 32u);
  EXPECT_EQ(folder.files(), 1u);
  const auto again = open_master_key(folder.file("m.key"), false);
  ASSERT_TRUE(again);
  EXPECT_TRUE(*again == *key);
}

TEST(LocalMasterKey, ThreadsThatStartAtOnceAllGetTheSameKey) {
  for (int round = 0; round < 20; ++round) {
    const TemporaryFolder folder;
    constexpr int count = 8;
    std::barrier start(count);
    std::mutex mutex;
    std::set<std::string> keys;
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < count; ++i) {
        threads.emplace_back([&] {
          start.arrive_and_wait();
          const auto key = open_master_key(folder.file("m.key"), true);
          const std::lock_guard lock(mutex);
          keys.insert(key ? text_of(*key) : key.error().message);
        });
      }
    }
    EXPECT_EQ(keys.size(), 1u);
    EXPECT_EQ(*keys.begin(), folder.read("m.key"));
    EXPECT_EQ(folder.files(), 1u);
  }
}

TEST(LocalMasterKey, IsNeverMadeOverKeysThatWereWrappedUnderALostOne) {
  const TemporaryFolder folder;
  const auto key = open_master_key(folder.file("m.key"), false);
  ASSERT_FALSE(key);
  EXPECT_EQ(key.error().code, ErrorCode::invalid_argument);
  for (const auto& part : {folder.file("m.key"), std::string("does not exist"),
                           std::string("the store holds keys"), std::string("Restore the file")}) {
    EXPECT_NE(key.error().message.find(part), std::string::npos) << key.error().message;
  }
  EXPECT_EQ(folder.files(), 0u);
}

TEST(LocalMasterKey, AFileOfAnotherSizeIsRefusedAndLeftAsItIs) {
  const TemporaryFolder folder;
  for (const std::size_t size : {0u, 31u, 33u, 64u}) {
    const std::string path = folder.write("m.key", std::string(size, 'k'));
    const auto key = open_master_key(path, true);
    ASSERT_FALSE(key) << size;
    EXPECT_EQ(key.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(key.error().message.find("has " + std::to_string(size) + " bytes"),
              std::string::npos);
    EXPECT_EQ(key.error().message.find("kkk"), std::string::npos);
    EXPECT_EQ(folder.read("m.key").size(), size);
  }
}

TEST(LocalMasterKey, WhatIsNotAPlainFileIsRefused) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkdir(folder.file("folder").c_str(), 0700), 0);
  ASSERT_EQ(::mkfifo(folder.file("pipe").c_str(), 0600), 0);
  for (const char* name : {"folder", "pipe"}) {
    const auto key = open_master_key(folder.file(name), true);
    ASSERT_FALSE(key) << name;
    EXPECT_NE(key.error().message.find("is not a plain file"), std::string::npos);
  }
}

TEST(LocalMasterKey, AMissingFolderIsNamed) {
  const TemporaryFolder folder;
  const auto key = open_master_key(folder.file("no/such/m.key"), true);
  ASSERT_FALSE(key);
  EXPECT_NE(key.error().message.find(folder.file("no/such/m.key")), std::string::npos);
  EXPECT_NE(key.error().message.find("No such file"), std::string::npos);
}

TEST(LocalMasterKey, AFileOpenToOthersIsUsedAndWarnedAboutWithItsRemedy) {
  const TemporaryFolder folder;
  const std::string path = folder.write("m.key", std::string(32, 'k'));
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  const std::string log = folder.file("log");
  ASSERT_TRUE(configure_logging({.console = false, .file = log}));
  EXPECT_TRUE(open_master_key(path, true));
  flush_logs();
  const std::string lines = folder.read("log");
  EXPECT_NE(lines.find("WARN"), std::string::npos) << lines;
  EXPECT_NE(lines.find("(mode 0644): chmod 600 " + path), std::string::npos) << lines;
  ASSERT_TRUE(configure_logging({}));
}

class LocalProviderTest : public ::testing::Test {
 protected:
  LocalProviderTest() { world_.data_dir = folder_.path(); }
  std::unique_ptr<Provider> make() {
    auto made = make_local_provider(world_.environment());
    if (!made) throw std::runtime_error(made.error().message);
    return *std::move(made);
  }
  TemporaryFolder folder_;
  ProviderWorld world_;
  const CallContext call_ = CallContext::system("test");
};

TEST_F(LocalProviderTest, KeepsItsMasterKeyInTheDataDirectory) {
  const auto provider = make();
  EXPECT_EQ(provider->description(), "local master key " + folder_.file("local-master.key"));
  EXPECT_EQ(folder_.read("local-master.key").size(), 32u);
  EXPECT_FALSE(provider->remote());
}

TEST_F(LocalProviderTest, ARelativeFileIsInTheDataDirectoryAndAnAbsoluteOneIsNot) {
  world_.settings["betrace.kms.local.master-key-file"] = "mine.key";
  make();
  EXPECT_EQ(folder_.read("mine.key").size(), 32u);
  const TemporaryFolder other;
  world_.settings["betrace.kms.local.master-key-file"] = other.file("elsewhere.key");
  EXPECT_EQ(make()->description(), "local master key " + other.file("elsewhere.key"));
}

TEST_F(LocalProviderTest, RefusesToStartWithoutTheKeyThatOpensTheStore) {
  auto environment = world_.environment();
  environment.may_create_master_key = false;
  EXPECT_EQ(make_local_provider(environment).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(folder_.files(), 0u);
}

TEST_F(LocalProviderTest, ABlobIsFormatThenMasterKeyIdThenNonceThenSealedText) {
  folder_.write("local-master.key", std::string(32, 'k'));
  const auto provider = make();
  const auto wrapped = provider->encrypt(call_, Bytes(32, 1), context);
  ASSERT_TRUE(wrapped);
  const ByteView blob = wrapped->blob;
  ASSERT_EQ(blob.size(), 1u + 8 + 12 + 32 + 16);
  EXPECT_EQ(blob[0], 1);
  const auto digest =
      sha256(as_bytes("betrace-kms local master key id v1:" + std::string(32, 'k')));
  EXPECT_EQ(hex_encode(blob.subspan(1, 8)), hex_encode(std::span(digest).first(8)));
  EXPECT_EQ(wrapped->master_key_id, "local:" + hex_encode(std::span(digest).first(8)));
  // Opened by hand under the RFC 8785 form of the context, so the format is a fact, not a habit.
  Bytes opened(32);
  EXPECT_TRUE(gcm_open(SecretBytes::copy_of(Bytes(32, 'k')), blob.subspan(9).first<12>(),
                       as_bytes(R"({"keyType":"signing","tenantId":"T"})"), blob.subspan(21),
                       opened));
  EXPECT_EQ(opened, Bytes(32, 1));
}

TEST_F(LocalProviderTest, ABlobOfALostMasterKeyNamesBothKeys) {
  const auto wrapped = make()->generate_data_key(call_, context);
  ASSERT_TRUE(wrapped);
  std::filesystem::remove(folder_.file("local-master.key"));
  const auto other = make();
  const auto opened = other->decrypt(call_, wrapped->wrapped, context);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::wrapped_elsewhere);
  EXPECT_NE(opened.error().message.find(wrapped->wrapped.master_key_id), std::string::npos);
  EXPECT_NE(opened.error().message.find(other->describe_key(call_)->key_id), std::string::npos);
}

TEST_F(LocalProviderTest, AWrongContextIsSaidInTheManualsWordsAndAlterationIsNotDenied) {
  const auto provider = make();
  const auto key = provider->generate_data_key(call_, context);
  const auto opened = provider->decrypt(call_, key->wrapped, {{"tenantId", "U"}});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().message,
            "The encryption context provided does not match the encryption context used to "
            "generate the data key or the ciphertext was altered");
}

}  // namespace
}  // namespace betrace::kms
