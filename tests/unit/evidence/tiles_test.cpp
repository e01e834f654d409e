#include "evidence/tiles.h"

#include <algorithm>
#include <filesystem>

#include <gtest/gtest.h>

#include "base/durable_file.h"
#include "base/encoding.h"
#include "support/temporary_directory.h"

namespace betrace::kms {
namespace {

std::string leaf(std::uint64_t index) { return "leaf " + std::to_string(index); }

// A log of `size` leaves, written in pieces of the given sizes, each after a restart when asked.
struct WrittenLog {
  explicit WrittenLog(const std::string& at) : folder(at) {}
  void grow(std::uint64_t count, bool restart) {
    if (restart) writer = TileWriter::resume(folder, tree.size()).value();
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto text = leaf(tree.size());
      writer.add_entry(as_bytes(text));
      tree.add_leaf(leaf_hash(as_bytes(text)),
                    [&](const TreeNode& node, const Digest& hash) { writer.add_node(node, hash); });
    }
    EXPECT_TRUE(write_tiles(folder, writer.take()));
  }
  TileReader reader() const { return {folder, tree.size()}; }

  std::string folder;
  GrowingTree tree;
  TileWriter writer;
};

TEST(Tiles, LieWhereTheLayoutSaysTheyDo) {
  EXPECT_EQ(hash_tile_path(0, 0, 256), "tile/0/000");
  EXPECT_EQ(hash_tile_path(1, 1234067, 256), "tile/1/x001/x234/067");
  EXPECT_EQ(hash_tile_path(0, 273, 112), "tile/0/273.p/112");
  EXPECT_EQ(entries_tile_path(1000, 1), "tile/entries/x001/000.p/1");
}

TEST(Tiles, GiveBackEveryNodeAndLeafHoweverTheLogGrew) {
  for (const bool restart : {false, true}) {
    TemporaryDirectory folder;
    WrittenLog log(folder.path());
    for (const std::uint64_t count : {1, 1, 3, 250, 1, 1, 255, 256, 1000, 66000, 0, 5}) {
      log.grow(count, restart);
      const auto size = log.tree.size();
      ASSERT_EQ(root_of(size, log.reader().reader()).value(), log.tree.root()) << size;
    }
    const auto size = log.tree.size();
    for (std::uint64_t i = 0; i < size; i += 997) {
      EXPECT_EQ(log.reader().entries(i, i + 1).value().front(), leaf(i));
      EXPECT_EQ(log.reader().leaf_hashes(i, i + 1).value().front(), leaf_hash(as_bytes(leaf(i))));
      const auto proof = inclusion_proof(i, size, log.reader().reader()).value();
      EXPECT_TRUE(verify_inclusion(i, size, leaf_hash(as_bytes(leaf(i))), proof, log.tree.root()));
    }
    EXPECT_EQ(log.reader().entries(300, 70000).value().size(), 512U - 300);
    EXPECT_FALSE(std::filesystem::exists(folder.path() + "/tile/0/000.p"));
    EXPECT_TRUE(std::filesystem::exists(folder.path() + "/tile/1/000"));
    EXPECT_LT(log.writer.bytes(), 64U * 1024);
  }
}

TEST(Tiles, AnOlderSizeIsReadFromNewerFiles) {
  TemporaryDirectory folder;
  WrittenLog log(folder.path());
  log.grow(200, false);
  const auto old_root = log.tree.root();
  log.grow(400, false);
  const TileReader old(folder.path(), 200);
  EXPECT_EQ(root_of(200, old.reader()).value(), old_root);
  EXPECT_EQ(old.entries(199, 200).value().front(), leaf(199));
  EXPECT_FALSE(old.node({.level = 0, .index = 200}));
}

TEST(Tiles, AFileThatIsMissingCutOrLongerIsNamed) {
  for (const std::string path : {"tile/entries/000", "tile/0/001.p/44"}) {
    TemporaryDirectory folder;
    WrittenLog log(folder.path());
    log.grow(300, false);
    const auto full = folder.path() + "/" + path;
    const auto good = read_whole_file(full).value().value();
    const auto look = [&]() -> Status {
      const auto entries = log.reader().entries(0, 300);
      if (!entries) return std::unexpected(entries.error());
      const auto node = log.reader().node({.level = 0, .index = 299});
      if (!node) return std::unexpected(node.error());
      return {};
    };
    ASSERT_TRUE(look());
    for (const auto& bad : {good.substr(0, good.size() - 1), std::string()}) {
      ASSERT_TRUE(write_file(full, bad));
      const auto status = look();
      ASSERT_FALSE(status);
      EXPECT_EQ(status.error().code, ErrorCode::corrupt);
      EXPECT_NE(status.error().message.find(path), std::string::npos) << status.error().message;
    }
    std::filesystem::remove(full);
    EXPECT_FALSE(look());
  }
}

}  // namespace
}  // namespace betrace::kms
