// The Merkle tree of RFC 6962, section 2.1: hashes of leaves and nodes, a tree that grows, and
// proofs. A node is named by its level (0: leaves) and its index there; only nodes over whole
// subtrees are ever named, and those never change. Values; nothing here knows files.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "betrace/kms/result.h"
#include "betrace/kms/signer.h"

namespace betrace::kms {

using Digest = std::array<std::uint8_t, 32>;

Digest leaf_hash(ByteView leaf);
Digest node_hash(const Digest& left, const Digest& right);
// MTH of no leaves.
Digest empty_root();

struct TreeNode {
  unsigned level = 0;
  std::uint64_t index = 0;
  std::uint64_t first_leaf() const { return index << level; }
  std::uint64_t leaves() const { return std::uint64_t{1} << level; }
  bool operator==(const TreeNode&) const = default;
};

// The whole subtrees, as large as can be, that leaves [begin, end) are made of, from left to right.
std::vector<TreeNode> whole_subtrees(std::uint64_t begin, std::uint64_t end);

// A tree as far as it is needed to grow and to know its root: its whole subtrees.
class GrowingTree {
 public:
  // Told of every whole subtree that is finished, the added one included.
  using Finished = std::function<void(const TreeNode&, const Digest&)>;

  GrowingTree() = default;
  // The tree of `size` leaves whose whole_subtrees(0, size) hash to `subtrees`; nothing when
  // their number is another.
  static std::optional<GrowingTree> resume(std::uint64_t size, std::vector<Digest> subtrees);

  void add_leaf(const Digest& leaf, const Finished& finished = {}) { add(0, leaf, finished); }
  // A whole subtree over the next 2^level leaves. False when the size is no multiple of that.
  [[nodiscard]] bool add_subtree(unsigned level, const Digest& root);

  std::uint64_t size() const { return size_; }
  Digest root() const;
  const std::vector<Digest>& subtrees() const { return subtrees_; }

 private:
  void add(unsigned level, Digest root, const Finished& finished);

  std::uint64_t size_ = 0;
  std::vector<Digest> subtrees_;  // of whole_subtrees(0, size_)
};

// The hash of a node of a tree that is stored. Errors: the store's.
using NodeReader = std::function<Result<Digest>(const TreeNode&)>;

// MTH of leaves [0, size).
Result<Digest> root_of(std::uint64_t size, const NodeReader& node);
// RFC 6962, section 2.1.1: PATH(index, D[size]). Errors: invalid_argument; the store's.
Result<std::vector<Digest>> inclusion_proof(std::uint64_t index, std::uint64_t size,
                                            const NodeReader& node);
// RFC 6962, section 2.1.2: PROOF(first, D[second]); empty for equal sizes and for first = 0.
Result<std::vector<Digest>> consistency_proof(std::uint64_t first, std::uint64_t second,
                                              const NodeReader& node);
// The hashes of these nodes.
Result<std::vector<Digest>> hashes_of(const std::vector<TreeNode>& nodes, const NodeReader& node);

// RFC 9162, section 2.1.3.2.
bool verify_inclusion(std::uint64_t index, std::uint64_t size, const Digest& leaf,
                      const std::vector<Digest>& proof, const Digest& root);
// RFC 9162, section 2.1.4.2; of size 0 every tree is a continuation.
bool verify_consistency(std::uint64_t first, const Digest& first_root, std::uint64_t second,
                        const Digest& second_root, const std::vector<Digest>& proof);

}  // namespace betrace::kms
