// How many encryptions a key version has left. Nonces are random 96 bits, so SP 800-38D bounds the
// uses of one key; 2^31 keeps the chance of a collision under 2^-34. The store counts for all
// daemons; each takes blocks and spends them in memory. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "betrace/kms/call_context.h"
#include "betrace/kms/key.h"
#include "betrace/kms/key_store.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

struct NonceLimits {
  std::uint64_t total = std::uint64_t{1} << 31;
  std::uint64_t block = std::uint64_t{1} << 20;
  // From here on the key asks to be rotated.
  std::uint64_t rotate_at() const { return total / 4 * 3; }
};

class NonceBudget {
 public:
  // Spends `count` from the block in memory; false when it does not hold that many.
  bool take(std::uint64_t count) {
    const auto wanted = static_cast<std::int64_t>(count);
    if (left_.fetch_sub(wanted, std::memory_order_relaxed) >= wanted) return true;
    left_.fetch_add(wanted, std::memory_order_relaxed);
    return false;
  }
  // As take(), fetching blocks from the store. Blocks. Sets `wants_rotation` when the key has
  // passed three quarters. Errors: overloaded when the budget is spent; the store's.
  Status take_blocking(const CallContext& call, KeyStore& store, const KeyId& key,
                       const NonceLimits& limits, std::uint64_t count, bool& wants_rotation);

 private:
  std::atomic<std::int64_t> left_{0};
};

// Remembers the blocks of keys that left the cache, so that a small cache does not waste budgets.
class NonceLedger {
 public:
  std::shared_ptr<NonceBudget> budget_of(const KeyId& key);

 private:
  static constexpr std::size_t entries_max = 262'144;
  struct Hash {
    std::size_t operator()(const KeyId& id) const;
  };
  std::mutex mutex_;
  std::unordered_map<KeyId, std::shared_ptr<NonceBudget>, Hash> budgets_;
};

}  // namespace betrace::kms
