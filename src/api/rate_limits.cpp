#include "api/rate_limits.h"

#include <algorithm>
#include <mutex>

#include <fmt/format.h>

namespace betrace::kms {

using std::chrono::milliseconds;
using std::chrono::minutes;

Result<SystemTime> RateLimits::set(const TenantId& tenant, Limit limit) {
  const std::unique_lock lock(mutex_);
  const auto now = clock_.steady_now();
  forget_ended(now);
  entries_.erase(tenant.str());
  if (limit.duration.count() > 0) {
    if (entries_.size() >= limits_max) {
      return fail(ErrorCode::conflict,
                  fmt::format("{} tenants are limited already; a limit set with \"duration\":\"0s\""
                              " ends one",
                              limits_max));
    }
    entries_.try_emplace(tenant.str(), limit.requests_per_minute, now, now + limit.duration);
  }
  note_size();
  return clock_.now() + limit.duration;
}

std::optional<RateLimits::Standing> RateLimits::take_limited(const TenantId& tenant) {
  const auto now = clock_.steady_now();
  if (now >= next_end_.load(std::memory_order_relaxed)) {
    const std::unique_lock lock(mutex_);
    forget_ended(now);
    note_size();
  }
  const std::shared_lock lock(mutex_);
  const auto found = entries_.find(tenant.str());
  if (found == entries_.end() || now >= found->second.end) return std::nullopt;
  return count(found->second, now);
}

RateLimits::Standing RateLimits::count(Entry& entry, TimePoint now) const {
  const auto minute =
      static_cast<std::uint64_t>(std::chrono::floor<minutes>(now - entry.begin).count());
  auto seen = entry.minute_and_count.load(std::memory_order_relaxed);
  std::uint64_t before = 0;
  std::uint64_t next = 0;
  do {
    // A thread whose clock reading is a little older counts in the newer minute.
    const auto current = std::max(minute, seen >> 32);
    before = seen >> 32 == current ? seen & UINT32_MAX : 0;
    next = current << 32 | std::min<std::uint64_t>(before + 1, entry.limit + 1ULL);
  } while (!entry.minute_and_count.compare_exchange_weak(seen, next, std::memory_order_relaxed));

  // With a limit of zero no minute is better than another.
  const auto reset =
      entry.limit == 0 ? entry.end : std::min(entry.end, entry.begin + minutes((next >> 32) + 1));
  Standing standing{.limit = entry.limit};
  standing.refused = before >= entry.limit;
  standing.first_refusal = before == entry.limit;
  if (!standing.refused) {
    standing.remaining = entry.limit - static_cast<std::uint32_t>(before) - 1;
  }
  standing.until_reset = std::chrono::ceil<milliseconds>(reset - now);
  standing.reset_at = clock_.now() + standing.until_reset;
  return standing;
}

void RateLimits::forget_ended(TimePoint now) {
  std::erase_if(entries_, [now](const auto& entry) { return now >= entry.second.end; });
}

void RateLimits::note_size() {
  auto next_end = TimePoint::max();
  for (const auto& [tenant, entry] : entries_) next_end = std::min(next_end, entry.end);
  next_end_.store(next_end, std::memory_order_relaxed);
  count_.store(entries_.size(), std::memory_order_relaxed);
}

}  // namespace betrace::kms
