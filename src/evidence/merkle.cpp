#include "evidence/merkle.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

constexpr std::array<std::uint8_t, 1> leaf_prefix{0}, node_prefix{1};

// The largest power of two below `leaves`, which is more than 1.
std::uint64_t split_of(std::uint64_t leaves) { return std::bit_floor(leaves - 1); }

// MTH of leaves [begin, end), which is not empty and where `begin` is a multiple of the smallest
// power of two that holds it.
Result<Digest> subtree_root(std::uint64_t begin, std::uint64_t end, const NodeReader& node) {
  auto hashes = TRY(hashes_of(whole_subtrees(begin, end), node));
  Digest root = hashes.back();
  for (auto each = hashes.rbegin() + 1; each != hashes.rend(); ++each) {
    root = node_hash(*each, root);
  }
  return root;
}

std::unexpected<Error> beyond(std::uint64_t part, std::uint64_t size, const char* name) {
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: {} is beyond the tree of {} leaves", name, part, size));
}

}  // namespace

Digest leaf_hash(ByteView leaf) { return sha256({leaf_prefix, leaf}); }
Digest node_hash(const Digest& left, const Digest& right) {
  return sha256({node_prefix, left, right});
}
Digest empty_root() { return sha256(ByteView()); }

std::vector<TreeNode> whole_subtrees(std::uint64_t begin, std::uint64_t end) {
  std::vector<TreeNode> nodes;
  while (begin < end) {
    const auto fits = static_cast<unsigned>(std::bit_width(end - begin)) - 1;
    const auto level =
        begin == 0 ? fits : std::min(fits, static_cast<unsigned>(std::countr_zero(begin)));
    nodes.push_back({.level = level, .index = begin >> level});
    begin += std::uint64_t{1} << level;
  }
  return nodes;
}

std::optional<GrowingTree> GrowingTree::resume(std::uint64_t size, std::vector<Digest> subtrees) {
  if (static_cast<std::size_t>(std::popcount(size)) != subtrees.size()) return std::nullopt;
  GrowingTree tree;
  tree.size_ = size;
  tree.subtrees_ = std::move(subtrees);
  return tree;
}

void GrowingTree::add(unsigned level, Digest root, const Finished& finished) {
  TreeNode at{.level = level, .index = size_ >> level};
  size_ += at.leaves();
  if (finished) finished(at, root);
  for (; at.index % 2 == 1; at.index /= 2) {
    root = node_hash(subtrees_.back(), root);
    subtrees_.pop_back();
    ++at.level;
    if (finished) finished({.level = at.level, .index = at.index / 2}, root);
  }
  subtrees_.push_back(root);
}

bool GrowingTree::add_subtree(unsigned level, const Digest& root) {
  const auto leaves = level < 64 ? std::uint64_t{1} << level : 0;
  if (leaves == 0 || size_ % leaves != 0 || size_ + leaves < size_) return false;
  add(level, root, {});
  return true;
}

Digest GrowingTree::root() const {
  if (subtrees_.empty()) return empty_root();
  Digest root = subtrees_.back();
  for (auto each = subtrees_.rbegin() + 1; each != subtrees_.rend(); ++each) {
    root = node_hash(*each, root);
  }
  return root;
}

Result<std::vector<Digest>> hashes_of(const std::vector<TreeNode>& nodes, const NodeReader& node) {
  std::vector<Digest> hashes;
  hashes.reserve(nodes.size());
  for (const auto& each : nodes) hashes.push_back(TRY(node(each)));
  return hashes;
}

Result<Digest> root_of(std::uint64_t size, const NodeReader& node) {
  if (size == 0) return empty_root();
  return subtree_root(0, size, node);
}

Result<std::vector<Digest>> inclusion_proof(std::uint64_t index, std::uint64_t size,
                                            const NodeReader& node) {
  if (index >= size) return beyond(index, size, "index");
  std::vector<Digest> proof;
  std::uint64_t begin = 0, end = size;
  while (end - begin > 1) {
    const auto middle = begin + split_of(end - begin);
    if (index < middle) {
      proof.push_back(TRY(subtree_root(middle, end, node)));
      end = middle;
    } else {
      proof.push_back(TRY(subtree_root(begin, middle, node)));
      begin = middle;
    }
  }
  std::ranges::reverse(proof);
  return proof;
}

Result<std::vector<Digest>> consistency_proof(std::uint64_t first, std::uint64_t second,
                                              const NodeReader& node) {
  if (first > second) return beyond(first, second, "first");
  std::vector<Digest> proof;
  if (first == 0 || first == second) return proof;
  std::uint64_t begin = 0, end = second;
  bool known = true;  // SUBPROOF's b: what is left of `first` is a tree that the asker knows
  while (end != first) {
    const auto middle = begin + split_of(end - begin);
    if (first <= middle) {
      proof.push_back(TRY(subtree_root(middle, end, node)));
      end = middle;
    } else {
      proof.push_back(TRY(subtree_root(begin, middle, node)));
      begin = middle;
      known = false;
    }
  }
  if (!known) proof.push_back(TRY(subtree_root(begin, end, node)));
  std::ranges::reverse(proof);
  return proof;
}

bool verify_inclusion(std::uint64_t index, std::uint64_t size, const Digest& leaf,
                      const std::vector<Digest>& proof, const Digest& root) {
  if (index >= size) return false;
  std::uint64_t at = index, last = size - 1;
  Digest hash = leaf;
  for (const auto& each : proof) {
    if (last == 0) return false;
    if (at % 2 == 1 || at == last) {
      hash = node_hash(each, hash);
      while (at % 2 == 0 && at != 0) {
        at /= 2;
        last /= 2;
      }
    } else {
      hash = node_hash(hash, each);
    }
    at /= 2;
    last /= 2;
  }
  return last == 0 && hash == root;
}

bool verify_consistency(std::uint64_t first, const Digest& first_root, std::uint64_t second,
                        const Digest& second_root, const std::vector<Digest>& proof) {
  if (first > second) return false;
  if (first == second) return proof.empty() && first_root == second_root;
  if (first == 0) return proof.empty() && first_root == empty_root();
  auto each = proof.begin();
  Digest from = first_root;
  if (!std::has_single_bit(first)) {
    if (each == proof.end()) return false;
    from = *each++;
  }
  std::uint64_t at = first - 1, last = second - 1;
  while (at % 2 == 1) {
    at /= 2;
    last /= 2;
  }
  Digest old_hash = from, new_hash = from;
  for (; each != proof.end(); ++each) {
    if (last == 0) return false;
    if (at % 2 == 1 || at == last) {
      old_hash = node_hash(*each, old_hash);
      new_hash = node_hash(*each, new_hash);
      while (at % 2 == 0 && at != 0) {
        at /= 2;
        last /= 2;
      }
    } else {
      new_hash = node_hash(new_hash, *each);
    }
    at /= 2;
    last /= 2;
  }
  return last == 0 && old_hash == first_root && new_hash == second_root;
}

}  // namespace betrace::kms
