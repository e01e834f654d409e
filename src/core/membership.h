// This daemon among those on its store: follows what others change, tells them that it is alive and
// what it has applied, and knows when a change of its own has reached all of them. Thread-safe.
//
// A daemon uses cached secrets for as long as others take it for alive: the lease, counted from
// before it was renewed. One that can still read its store but not write to it (a full disk) lives
// from read to read, which is why no change is known everywhere before `settling`.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "betrace/kms/clock.h"
#include "betrace/kms/key_store.h"

#include "core/key_service_impl.h"

namespace betrace::kms {

class Membership {
 public:
  static constexpr std::chrono::milliseconds settling{500};

  // Both must outlive it.
  struct Parts {
    KeyStore& store;
    KeyServiceImpl& keys;
    const Clock& clock;
  };
  Membership(Parts parts, std::string node, std::chrono::milliseconds lease);
  // Those who still wait are told that the service stops.
  ~Membership();

  // Follows changes and says that this node is alive; to be called a few times a second, not by two
  // threads at once.
  Status beat();
  // Calls `done` when every other live node has applied what the store holds now, or its lease has
  // run out. Errors: store_unavailable; overloaded when the service stops before.
  void when_applied(const CallContext& call, Done<void> done);
  // To be called when this node uses its keys no more.
  void leave();

  const std::string& node() const { return node_; }
  std::chrono::milliseconds lease() const { return lease_; }
  // HOST/PROCESS/random, for people who read it in a status.
  static std::string make_node_name();

 private:
  struct Waiting {
    std::uint64_t generation = 0;
    std::chrono::steady_clock::time_point not_before;
    Done<void> done;
  };
  Status say_alive(std::chrono::steady_clock::time_point started,
                   const KeyServiceImpl::Followed& followed);
  Status answer_those_who_wait();

  const Parts parts_;
  const std::string node_;
  const std::chrono::milliseconds lease_;
  std::chrono::steady_clock::time_point usable_until_;  // these three belong to beat()
  std::optional<std::chrono::steady_clock::time_point> said_at_;
  bool behind_ = false;  // others do not know yet what was applied
  std::mutex mutex_;
  std::vector<Waiting> waiting_;
};

}  // namespace betrace::kms
