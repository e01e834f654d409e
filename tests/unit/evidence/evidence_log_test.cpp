#include "evidence/evidence_log.h"

#include <algorithm>
#include <filesystem>
#include <future>

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "support/fake_clock.h"
#include "support/temporary_directory.h"

namespace betrace::kms {
namespace {

TenantId tenant(std::string_view name) { return TenantId::parse(name).value(); }

class EvidenceLogTest : public ::testing::Test {
 protected:
  std::unique_ptr<EvidenceLog> open() {
    auto log = EvidenceLog::open(options_, {.seal = seal_, .clock = clock_, .metrics = metrics_});
    EXPECT_TRUE(log) << log.error().message;
    return log ? *std::move(log) : nullptr;
  }
  static Result<EvidenceLog::Indices> append(EvidenceLog& log,
                                             std::vector<EvidenceLog::Leaf> leaves,
                                             EvidenceLog::Also also = {}) {
    std::promise<Result<EvidenceLog::Indices>> promise;
    log.append(std::move(leaves), std::move(also),
               [&](Result<EvidenceLog::Indices> done) { promise.set_value(std::move(done)); });
    return promise.get_future().get();
  }
  static std::vector<EvidenceLog::Leaf> leaves(std::string_view of, int begin, int end) {
    std::vector<EvidenceLog::Leaf> made;
    for (int i = begin; i < end; ++i) made.push_back({tenant(of), "leaf " + std::to_string(i)});
    return made;
  }
  // The log that such leaves make, as a verifier sees it.
  static Digest root_of_leaves(int count) {
    GrowingTree tree;
    for (int i = 0; i < count; ++i) tree.add_leaf(leaf_hash(as_bytes("leaf " + std::to_string(i))));
    return tree.root();
  }
  void expect_published(EvidenceLog& log, std::string_view of, int count) {
    const auto published = log.published(tenant(of));
    ASSERT_TRUE(published) << published.error().message;
    EXPECT_EQ(published->checkpoint.size, static_cast<std::uint64_t>(count));
    EXPECT_EQ(published->checkpoint.root, root_of_leaves(count));
    const auto key = log.public_key().value();
    const auto text = open_note(published->note, key);
    ASSERT_TRUE(text) << text.error().message;
    EXPECT_EQ(Checkpoint::parse(*text).value(), published->checkpoint);
    EXPECT_EQ(published->checkpoint.origin, key.name + "/" + std::string(of));
    const auto tiles = log.tiles(tenant(of), published->checkpoint.size);
    EXPECT_EQ(root_of(tiles.size(), tiles.reader()).value(), published->checkpoint.root);
  }

  TemporaryDirectory folder_;
  FakeClock clock_;
  Metrics metrics_{"fake"};
  bool provider_is_away_ = false;
  LogKeySeal seal_{.seal = [this](const SecretBytes& secret) -> Result<Bytes> {
                     if (provider_is_away_) return fail(ErrorCode::kms_unavailable, "away");
                     return Bytes(secret.expose().begin(), secret.expose().end());
                   },
                   .open = [this](ByteView sealed) -> Result<SecretBytes> {
                     if (provider_is_away_) return fail(ErrorCode::kms_unavailable, "away");
                     return SecretBytes::copy_of(sealed);
                   }};
  EvidenceLogOptions options_{.folder = folder_.path() + "/evidence"};
};

TEST_F(EvidenceLogTest, NumbersTheLeavesOfEachTenantAndPublishesTheirTrees) {
  const auto log = open();
  EXPECT_EQ(append(*log, leaves("acme", 0, 3)).value(), (std::vector<std::uint64_t>{0, 1, 2}));
  auto mixed = leaves("..", 0, 1);
  mixed.push_back(leaves("acme", 3, 4).front());
  EXPECT_EQ(append(*log, std::move(mixed)).value(), (std::vector<std::uint64_t>{0, 3}));
  EXPECT_EQ(log->published(tenant("acme")).error().code, ErrorCode::not_found);
  ASSERT_TRUE(log->publish());
  expect_published(*log, "acme", 4);
  expect_published(*log, "..", 1);
  EXPECT_TRUE(std::filesystem::exists(folder_.path() + "/evidence/tenants/t-../checkpoint"));
  EXPECT_EQ(log->journal().bytes_behind("log"), 0U);
  EXPECT_EQ(log->tiles(tenant("acme"), 4).entries(3, 4).value().front(), "leaf 3");
}

TEST_F(EvidenceLogTest, GoesOnAfterARestartWithAndWithoutACheckpoint) {
  int count = 0;
  std::optional<NoteKey> key;
  for (const int more : {5, 300, 1, 0, 250, 7}) {
    const auto log = open();
    const auto indices = append(*log, leaves("acme", count, count + more)).value();
    if (more > 0) {
      EXPECT_EQ(indices.front(), static_cast<std::uint64_t>(count));
    }
    count += more;
    if (more % 2 == 0) continue;  // its leaves are in the journal alone
    ASSERT_TRUE(log->publish());
    expect_published(*log, "acme", count);
    if (key) {
      EXPECT_EQ(log->public_key().value(), *key) << "the log's key stays";
    }
    key = log->public_key().value();
  }
}

TEST_F(EvidenceLogTest, CheckpointsOfAllTimesAreConsistentWithEachOther) {
  const auto log = open();
  std::vector<Checkpoint> all;
  for (int count = 0; count < 700; count += 100) {
    append(*log, leaves("acme", count, count + 100)).value();
    ASSERT_TRUE(log->publish());
    clock_.advance(std::chrono::seconds(10));
    all.push_back(log->published(tenant("acme"))->checkpoint);
  }
  const auto kept = log->all_published(tenant("acme")).value();
  EXPECT_TRUE(std::ranges::equal(all, kept, {}, {}, &EvidenceLog::Published::checkpoint));
  const auto tiles = log->tiles(tenant("acme"), all.back().size);
  for (const auto& each : all) {
    const auto proof = consistency_proof(each.size, tiles.size(), tiles.reader()).value();
    EXPECT_TRUE(verify_consistency(each.size, each.root, all.back().size, all.back().root, proof));
  }
}

TEST_F(EvidenceLogTest, AProviderThatIsAwayDelaysCheckpointsAndNothingElse) {
  provider_is_away_ = true;
  {
    const auto log = open();
    append(*log, leaves("acme", 0, 300)).value();
    EXPECT_EQ(log->publish().error().code, ErrorCode::kms_unavailable);
    append(*log, leaves("acme", 300, 310)).value();
    EXPECT_FALSE(log->publish());
  }
  const auto log = open();
  provider_is_away_ = false;
  append(*log, leaves("acme", 310, 311)).value();
  ASSERT_TRUE(log->publish());
  expect_published(*log, "acme", 311);
}

TEST_F(EvidenceLogTest, WhatCouldNotBeWrittenIsWrittenTheNextTime) {
  const auto log = open();
  append(*log, leaves("acme", 0, 10)).value();
  const auto in_the_way = folder_.path() + "/evidence/tenants";
  folder_.write("evidence/tenants", "a file");
  EXPECT_EQ(log->publish().error().code, ErrorCode::store_unavailable);
  append(*log, leaves("acme", 10, 20)).value();
  std::filesystem::remove(in_the_way);
  ASSERT_TRUE(log->publish());
  expect_published(*log, "acme", 20);
}

TEST_F(EvidenceLogTest, TooMuchThatCannotBePublishedIsRefusedWithTheReason) {
  options_.unpublished_bytes_max = 100;
  provider_is_away_ = true;
  const auto log = open();
  append(*log, leaves("acme", 0, 20)).value();
  EXPECT_FALSE(log->publish());
  const auto refused = append(*log, leaves("acme", 20, 21));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::overloaded);
  EXPECT_NE(refused.error().message.find("away"), std::string::npos) << refused.error().message;
  provider_is_away_ = false;
  ASSERT_TRUE(log->publish());
  EXPECT_TRUE(append(*log, leaves("acme", 20, 21)));
}

TEST_F(EvidenceLogTest, ALogWhoseFilesWereChangedTakesNothingMore) {
  {
    const auto log = open();
    append(*log, leaves("acme", 0, 10)).value();
    ASSERT_TRUE(log->publish());
  }
  const auto path = folder_.path() + "/evidence/tenants/t-acme/tile/0/000.p/10";
  auto tile = read_whole_file(path).value().value();
  tile[3] = static_cast<char>(tile[3] ^ 1);
  ASSERT_TRUE(write_file(path, tile));
  const auto log = open();
  const auto refused = append(*log, leaves("acme", 10, 11));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::corrupt);
  EXPECT_TRUE(append(*log, leaves("other", 0, 1))) << "other tenants are not held up";
}

TEST_F(EvidenceLogTest, ACheckpointOfSomebodyElseIsNotContinued) {
  {
    const auto log = open();
    append(*log, leaves("acme", 0, 10)).value();
    ASSERT_TRUE(log->publish());
  }
  const auto path = folder_.path() + "/evidence/log-key.json";
  std::filesystem::remove(path);
  const auto without =
      EvidenceLog::open(options_, {.seal = seal_, .clock = clock_, .metrics = metrics_});
  ASSERT_FALSE(without);
  EXPECT_EQ(without.error().code, ErrorCode::corrupt);
  EXPECT_NE(without.error().message.find(path), std::string::npos);

  ASSERT_TRUE(LogKey::load_or_make(folder_.path(), "another-log", seal_));
  std::filesystem::rename(folder_.path() + "/log-key.json", path);
  const auto log = open();
  append(*log, leaves("acme", 10, 11)).value();
  const auto refused = log->publish();
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("no valid signature"), std::string::npos);
}

TEST_F(EvidenceLogTest, ALeafThatIsTooLongIsRefusedAndTheFolderIsForOneProcess) {
  const auto log = open();
  const auto refused = append(*log, {{tenant("acme"), std::string(65536, 'x')}});
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_TRUE(append(*log, {{tenant("acme"), std::string(65535, 'x')}}));
  const auto second =
      EvidenceLog::open(options_, {.seal = seal_, .clock = clock_, .metrics = metrics_});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
}

TEST_F(EvidenceLogTest, ManyThreadsAppendWhileItIsPublished) {
  options_.leaves_max = 50;
  options_.interval = std::chrono::milliseconds(3);
  std::vector<std::uint64_t> indices;
  {
    const auto log = open();
    log->start();
    std::mutex mutex;
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 200; ++i) {
          const auto got = append(*log, {{tenant("acme"), "same"}, {tenant("other"), "same"}});
          const std::lock_guard lock(mutex);
          indices.push_back(got.value()[0]);
        }
      });
    }
    threads.clear();
    ASSERT_TRUE(log->publish());
    EXPECT_EQ(log->published(tenant("acme"))->checkpoint.size, 800U);
  }
  std::ranges::sort(indices);
  for (std::uint64_t i = 0; i < 800; ++i) EXPECT_EQ(indices[i], i);
  const auto log = open();
  EXPECT_EQ(append(*log, {{tenant("acme"), "more"}}).value().front(), 800U);
}

TEST_F(EvidenceLogTest, WhatGoesAlongIsInTheJournalWithTheLeaves) {
  options_.consumers = {"forward"};
  const auto log = open();
  const auto also = [](std::string text) {
    return [text](const EvidenceLog::Indices& indices) {
      return std::vector<JournalRecord>{
          {.kind = 9, .bytes = text + std::to_string(indices.size())}};
    };
  };
  append(*log, leaves("acme", 0, 1), also("payload")).value();
  append(*log, {}, also("another")).value();
  const auto batches = log->journal().read(log->journal().position("forward"), 1000).value();
  ASSERT_EQ(batches.records.size(), 3U);
  EXPECT_EQ(batches.records[0].bytes, "payload1");
  EXPECT_EQ(batches.records[1].kind, EvidenceLog::leaf_record);
  EXPECT_EQ(batches.records[2].bytes, "another0");
}

}  // namespace
}  // namespace betrace::kms
