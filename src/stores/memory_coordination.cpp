#include "stores/memory_coordination.h"

#include "base/try.h"
#include "stores/records.h"

namespace betrace::kms {

Result<std::uint64_t> MemoryCoordination::acquire(const CallContext&, std::string_view lease,
                                                  std::string_view node,
                                                  std::chrono::milliseconds ttl) {
  TRY(enter_("acquire"));
  const std::lock_guard lock(mutex_);
  auto& held = leases_[std::string(lease)];
  if (held.expires_at > now() && held.node != node) return lease_taken(lease, held.node);
  held = {.node = std::string(node), .fence = held.fence + 1, .expires_at = now() + ttl.count()};
  return held.fence;
}

Status MemoryCoordination::renew(const CallContext&, std::string_view lease, std::uint64_t fence,
                                 std::chrono::milliseconds ttl) {
  TRY(enter_("renew"));
  const std::lock_guard lock(mutex_);
  const auto held = leases_.find(lease);
  if (held == leases_.end() || held->second.fence != fence || held->second.expires_at == 0) {
    return lease_lost(lease);
  }
  held->second.expires_at = now() + ttl.count();
  return {};
}

Status MemoryCoordination::release(const CallContext&, std::string_view lease,
                                   std::uint64_t fence) {
  TRY(enter_("release"));
  const std::lock_guard lock(mutex_);
  const auto held = leases_.find(lease);
  if (held != leases_.end() && held->second.fence == fence) held->second.expires_at = 0;
  return {};
}

Result<std::optional<LeaseHolder>> MemoryCoordination::holder(const CallContext&,
                                                              std::string_view lease) {
  TRY(enter_("holder"));
  const std::lock_guard lock(mutex_);
  const auto held = leases_.find(lease);
  if (held == leases_.end() || held->second.expires_at <= now()) return std::nullopt;
  return LeaseHolder{.node = held->second.node, .fence = held->second.fence};
}

Status MemoryCoordination::beat(const CallContext&, std::string_view node, std::uint64_t generation,
                                std::chrono::milliseconds ttl) {
  TRY(enter_("beat"));
  const std::lock_guard lock(mutex_);
  nodes_[std::string(node)] = {.generation = generation, .expires_at = now() + ttl.count()};
  std::erase_if(nodes_, [&](const auto& each) { return each.second.expires_at < now(); });
  return {};
}

Status MemoryCoordination::leave(const CallContext&, std::string_view node) {
  TRY(enter_("leave"));
  const std::lock_guard lock(mutex_);
  if (const auto found = nodes_.find(node); found != nodes_.end()) nodes_.erase(found);
  return {};
}

Result<std::vector<std::string>> MemoryCoordination::nodes_behind(const CallContext&,
                                                                  std::string_view node,
                                                                  std::uint64_t generation) {
  TRY(enter_("nodes_behind"));
  const std::lock_guard lock(mutex_);
  std::vector<std::string> behind;
  for (const auto& [id, each] : nodes_) {
    if (id != node && each.generation < generation && each.expires_at > now()) behind.push_back(id);
  }
  return behind;
}

bool MemoryCoordination::holds(std::string_view lease, std::uint64_t fence) const {
  const std::lock_guard lock(mutex_);
  const auto held = leases_.find(lease);
  return held != leases_.end() && held->second.fence == fence && held->second.expires_at > now();
}

}  // namespace betrace::kms
