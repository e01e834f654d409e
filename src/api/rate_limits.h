// How many requests a minute a tenant may make, for those tenants that an administrator has limited
// for a time. Minutes are counted from when the limit was set. Of this daemon alone and in memory:
// a restart forgets it, other daemons do not know of it. Thread-safe; while nothing is limited, a
// request costs one relaxed load.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <shared_mutex>
#include <string>

#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"
#include "betrace/kms/tenant.h"

namespace betrace::kms {

class RateLimits {
 public:
  static constexpr std::size_t limits_max = 10'000;

  // `clock` must outlive this.
  explicit RateLimits(const Clock& clock) : clock_(clock) {}

  struct Limit {
    std::uint32_t requests_per_minute = 0;
    std::chrono::seconds duration{};
  };
  // In place of the tenant's earlier limit; a duration of zero ends that one. Answers when the
  // limit ends. Errors: conflict when limits_max tenants are limited.
  Result<SystemTime> set(const TenantId& tenant, Limit limit);

  // Where a limited tenant stands after this request.
  struct Standing {
    std::uint32_t limit = 0, remaining = 0;
    bool refused = false;
    bool first_refusal = false;  // of this minute
    std::chrono::milliseconds until_reset{};
    SystemTime reset_at;  // when requests are taken again, or `remaining` is full again
  };
  // Counts a request. Nothing when the tenant is not limited.
  std::optional<Standing> take(const TenantId& tenant) {
    if (count_.load(std::memory_order_relaxed) == 0) return std::nullopt;
    return take_limited(tenant);
  }

 private:
  using TimePoint = std::chrono::steady_clock::time_point;

  struct Entry {
    Entry(std::uint32_t limit, TimePoint begin, TimePoint end)
        : limit(limit), begin(begin), end(end) {}
    const std::uint32_t limit;
    const TimePoint begin, end;
    // The minute since `begin` in the upper half; below, the requests that came in it, refused ones
    // as one.
    std::atomic<std::uint64_t> minute_and_count{0};
  };

  std::optional<Standing> take_limited(const TenantId& tenant);
  Standing count(Entry& entry, TimePoint now) const;
  void forget_ended(TimePoint now);  // under the lock
  void note_size();                  // under the lock

  const Clock& clock_;
  std::shared_mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_;
  std::atomic<std::size_t> count_{0};
  std::atomic<TimePoint> next_end_{TimePoint::max()};
};

}  // namespace betrace::kms
