// What the daemons on one store agree on: who does a job that only one may do, and who is alive and
// has seen which changes. Time is the store's own (for an embedded one the machine's monotonic
// clock, of this boot), so that nobody's wall clock matters. Thread-safe; every call may block as a
// KeyStore's.
//
// Errors of every verb: store_unavailable.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

struct LeaseHolder {
  std::string node;
  std::uint64_t fence = 0;
};

class Coordination {
 public:
  virtual ~Coordination() = default;

  // Takes a lease that is free, has run out, or is this node's already. The fencing number is
  // greater than all before it. Errors: conflict, naming the node that holds it.
  virtual Result<std::uint64_t> acquire(const CallContext& call, std::string_view lease,
                                        std::string_view node, std::chrono::milliseconds ttl) = 0;
  // Errors: conflict when the lease has another fencing number by now.
  virtual Status renew(const CallContext& call, std::string_view lease, std::uint64_t fence,
                       std::chrono::milliseconds ttl) = 0;
  // Nothing happens when it was lost before.
  virtual Status release(const CallContext& call, std::string_view lease, std::uint64_t fence) = 0;
  virtual Result<std::optional<LeaseHolder>> holder(const CallContext& call,
                                                    std::string_view lease) = 0;

  // This node is alive for another `ttl` and has applied all changes up to `generation`.
  virtual Status beat(const CallContext& call, std::string_view node, std::uint64_t generation,
                      std::chrono::milliseconds ttl) = 0;
  virtual Status leave(const CallContext& call, std::string_view node) = 0;
  // Other nodes that are alive and have not applied `generation`.
  virtual Result<std::vector<std::string>> nodes_behind(const CallContext& call,
                                                        std::string_view node,
                                                        std::uint64_t generation) = 0;
};

}  // namespace betrace::kms
