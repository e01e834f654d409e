#include "core/nonce_budget.h"

#include <array>
#include <cstring>

namespace betrace::kms {
namespace {

// The last eight bytes of a UUIDv7 are random.
std::size_t random_part(const KeyId& id) {
  std::size_t hash = 0;
  std::memcpy(&hash, id.bytes().data() + 8, sizeof(hash));
  return hash;
}

// One fetch of a key at a time. Shared by many keys: a mutex for each would cost more memory than
// the budget itself.
std::mutex& fetching(const KeyId& key) {
  static std::array<std::mutex, 64> all;
  return all[random_part(key) % all.size()];
}

}  // namespace

Status NonceBudget::take_blocking(const CallContext& call, KeyStore& store, const KeyId& key,
                                  const NonceLimits& limits, std::uint64_t count,
                                  bool& wants_rotation) {
  const std::lock_guard lock(fetching(key));
  while (!take(count)) {
    const auto first = store.reserve(call, "nonce:" + key.str(), limits.block, limits.total);
    if (!first && first.error().code == ErrorCode::conflict) {
      wants_rotation = true;
      return fail(ErrorCode::overloaded,
                  "encryption key " + key.str() +
                      " has spent its budget of encryptions (NIST SP 800-38D); rotate the tenant");
    }
    if (!first) return std::unexpected(first.error());
    left_.fetch_add(static_cast<std::int64_t>(limits.block), std::memory_order_relaxed);
    wants_rotation = wants_rotation || *first + limits.block >= limits.rotate_at();
  }
  return {};
}

std::size_t NonceLedger::Hash::operator()(const KeyId& id) const { return random_part(id); }

std::shared_ptr<NonceBudget> NonceLedger::budget_of(const KeyId& key) {
  const std::lock_guard lock(mutex_);
  if (budgets_.size() >= entries_max) {
    std::erase_if(budgets_, [](const auto& item) { return item.second.use_count() == 1; });
  }
  auto& budget = budgets_[key];
  if (!budget) budget = std::make_shared<NonceBudget>();
  return budget;
}

}  // namespace betrace::kms
