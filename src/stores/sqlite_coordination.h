// Leases and nodes in the same SQLite file as the keys.
#pragma once

#include "betrace/kms/coordination.h"

#include "stores/lease_clock.h"
#include "stores/reader_pool.h"
#include "stores/writer.h"

namespace betrace::kms {

class SqliteCoordination final : public Coordination {
 public:
  // Both must outlive it.
  SqliteCoordination(ReaderPool& readers, Writer& writer, LeaseClock clock)
      : readers_(readers), writer_(writer), clock_(std::move(clock)) {}

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

  LeaseTime now() const { return clock_(); }

 private:
  ReaderPool& readers_;
  Writer& writer_;
  const LeaseClock clock_;
};

}  // namespace betrace::kms
