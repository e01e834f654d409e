// The trees of Certificate Transparency's own tests, and proofs for every pair of small sizes.
#include "evidence/merkle.h"

#include <map>

#include <gtest/gtest.h>

#include "base/encoding.h"

namespace betrace::kms {
namespace {

// The leaves and roots of the reference implementation of RFC 6962 (merkletree tests).
const std::vector<std::string> leaves{"",
                                      "00",
                                      "10",
                                      "2021",
                                      "3031",
                                      "40414243",
                                      "5051525354555657",
                                      "606162636465666768696a6b6c6d6e6f"};
const std::vector<std::string> roots{
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

// Keeps every node that is ever finished, and the root of every size.
struct WholeTree {
  GrowingTree tree;
  std::vector<Digest> leaf_hashes, roots{empty_root()};
  std::map<std::pair<unsigned, std::uint64_t>, Digest> nodes;

  void add(const Digest& leaf) {
    leaf_hashes.push_back(leaf);
    tree.add_leaf(leaf, [&](const TreeNode& node, const Digest& hash) {
      nodes[{node.level, node.index}] = hash;
    });
    roots.push_back(tree.root());
  }
  NodeReader reader() const {
    return [this](const TreeNode& node) -> Result<Digest> {
      return nodes.at({node.level, node.index});
    };
  }
};

WholeTree tree_of(std::size_t size) {
  WholeTree whole;
  for (std::size_t i = 0; i < size; ++i) whole.add(leaf_hash(as_bytes(std::to_string(i))));
  return whole;
}

Digest spoiled(Digest digest) {
  digest[7] ^= 1;
  return digest;
}

TEST(Merkle, HashesTheTreesOfTheReferenceImplementation) {
  WholeTree whole;
  EXPECT_EQ(hex_encode(whole.tree.root()), roots[0]);
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    whole.add(leaf_hash(hex_decode(leaves[i]).value()));
    EXPECT_EQ(hex_encode(whole.tree.root()), roots[i + 1]) << i;
    EXPECT_EQ(root_of(i + 1, whole.reader()).value(), whole.tree.root());
  }
}

TEST(Merkle, GoesOnFromTheSubtreesThatItEndedWith) {
  for (std::size_t size = 0; size < 70; ++size) {
    const auto whole = tree_of(size);
    auto resumed = GrowingTree::resume(size, whole.tree.subtrees()).value();
    EXPECT_EQ(hashes_of(whole_subtrees(0, size), whole.reader()).value(), resumed.subtrees());
    auto longer = tree_of(size + 1);
    resumed.add_leaf(longer.leaf_hashes.back());
    EXPECT_EQ(resumed.root(), longer.tree.root());
  }
  EXPECT_FALSE(GrowingTree::resume(3, {Digest{}}));
}

TEST(Merkle, ProvesThatALeafIsInTheTreeAndThatNoOtherIs) {
  const auto whole = tree_of(40);
  for (std::uint64_t size = 1; size <= 40; ++size) {
    for (std::uint64_t index = 0; index < size; ++index) {
      const auto proof = inclusion_proof(index, size, whole.reader()).value();
      const auto& leaf = whole.leaf_hashes[index];
      const auto& root = whole.roots[size];
      ASSERT_TRUE(verify_inclusion(index, size, leaf, proof, root)) << index << " of " << size;
      EXPECT_FALSE(verify_inclusion(index, size, spoiled(leaf), proof, root));
      EXPECT_FALSE(verify_inclusion(index, size, leaf, proof, spoiled(root)));
      EXPECT_FALSE(verify_inclusion(index ^ 1, size, leaf, proof, root) && size > 1);
      for (std::size_t i = 0; i < proof.size(); ++i) {
        auto bad = proof;
        bad[i] = spoiled(bad[i]);
        EXPECT_FALSE(verify_inclusion(index, size, leaf, bad, root));
        bad.erase(bad.begin() + static_cast<std::ptrdiff_t>(i));
        EXPECT_FALSE(verify_inclusion(index, size, leaf, bad, root));
      }
    }
  }
  EXPECT_FALSE(inclusion_proof(40, 40, whole.reader()));
  EXPECT_FALSE(inclusion_proof(~std::uint64_t{0}, 40, whole.reader()));
  EXPECT_FALSE(inclusion_proof(0, 0, whole.reader()));
  EXPECT_FALSE(verify_inclusion(0, 0, {}, {}, {}));
}

TEST(Merkle, ProvesThatATreeContinuesAnother) {
  const auto whole = tree_of(40);
  for (std::uint64_t second = 0; second <= 40; ++second) {
    for (std::uint64_t first = 0; first <= second; ++first) {
      const auto proof = consistency_proof(first, second, whole.reader()).value();
      const auto &old_root = whole.roots[first], &new_root = whole.roots[second];
      ASSERT_TRUE(verify_consistency(first, old_root, second, new_root, proof))
          << first << " of " << second;
      EXPECT_FALSE(verify_consistency(first, spoiled(old_root), second, new_root, proof));
      if (first == 0) continue;  // every tree continues the empty one
      EXPECT_FALSE(verify_consistency(first, old_root, second, spoiled(new_root), proof));
      for (std::size_t i = 0; i < proof.size(); ++i) {
        auto bad = proof;
        bad[i] = spoiled(bad[i]);
        EXPECT_FALSE(verify_consistency(first, old_root, second, new_root, bad));
      }
      auto longer = proof;
      longer.push_back(old_root);
      EXPECT_FALSE(verify_consistency(first, old_root, second, new_root, longer));
    }
  }
  EXPECT_FALSE(consistency_proof(3, 2, whole.reader()));
}

TEST(Merkle, ARangeOfLeavesAndTheSubtreesAroundItMakeTheRoot) {
  const auto whole = tree_of(40);
  for (std::uint64_t begin = 0; begin <= 40; ++begin) {
    for (std::uint64_t end = begin; end <= 40; ++end) {
      const auto left = hashes_of(whole_subtrees(0, begin), whole.reader()).value();
      auto tree = GrowingTree::resume(begin, left).value();
      for (auto i = begin; i < end; ++i) tree.add_leaf(whole.leaf_hashes[i]);
      for (const auto& node : whole_subtrees(end, 40)) {
        ASSERT_TRUE(tree.add_subtree(node.level, whole.reader()(node).value()));
      }
      EXPECT_EQ(tree.size(), 40U);
      EXPECT_EQ(tree.root(), whole.roots[40]);
    }
  }
  GrowingTree odd;
  odd.add_leaf({});
  EXPECT_FALSE(odd.add_subtree(1, {}));
  EXPECT_FALSE(odd.add_subtree(64, {}));
}

}  // namespace
}  // namespace betrace::kms
