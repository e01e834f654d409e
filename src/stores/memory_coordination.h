// Leases and nodes in memory, with the rules of the real ones. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "betrace/kms/coordination.h"

#include "stores/lease_clock.h"

namespace betrace::kms {

class MemoryCoordination final : public Coordination {
 public:
  // `enter` is asked with the verb's name before each call; its error is the call's answer.
  MemoryCoordination(LeaseClock clock, std::function<Status(std::string_view verb)> enter)
      : clock_(std::move(clock)), enter_(std::move(enter)) {}

  Result<std::uint64_t> acquire(const CallContext& call, std::string_view lease,
                                std::string_view node, std::chrono::milliseconds ttl) override;
  Status renew(const CallContext& call, std::string_view lease, std::uint64_t fence,
               std::chrono::milliseconds ttl) override;
  Status release(const CallContext& call, std::string_view lease, std::uint64_t fence) override;
  Result<std::optional<LeaseHolder>> holder(const CallContext& call,
                                            std::string_view lease) override;
  Status beat(const CallContext& call, std::string_view node, std::uint64_t generation,
              std::chrono::milliseconds ttl) override;
  Status leave(const CallContext& call, std::string_view node) override;
  Result<std::vector<std::string>> nodes_behind(const CallContext& call, std::string_view node,
                                                std::uint64_t generation) override;

  // Whether the lease is held under this number.
  bool holds(std::string_view lease, std::uint64_t fence) const;

 private:
  struct Lease {
    std::string node;
    std::uint64_t fence = 0;
    std::int64_t expires_at = 0;
  };
  struct Node {
    std::uint64_t generation = 0;
    std::int64_t expires_at = 0;
  };
  std::int64_t now() const { return clock_().milliseconds; }

  const LeaseClock clock_;
  const std::function<Status(std::string_view)> enter_;
  mutable std::mutex mutex_;
  std::map<std::string, Lease, std::less<>> leases_;
  std::map<std::string, Node, std::less<>> nodes_;
};

}  // namespace betrace::kms
