// The open connections of a server, each with the step it is at and the time by which that step
// must be over. A sweep a few times a second shuts the late ones down, which the connection then
// sees as the end of its input: no timer per connection, no lock on the way of a request.
//
// The registry is thread-safe. A connection registers itself once, and leaves before it closes its
// descriptor, so that a sweep never touches a descriptor that belongs to somebody else by now.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace betrace::kms {

using SteadyTime = std::chrono::steady_clock::time_point;

// What a connection is doing; decides how a late one is ended.
enum class Step : std::uint8_t {
  idle,      // between requests: ended without a word
  head,      // a request has begun: input ends, so that the connection can still answer 408
  body,      // as head
  handling,  // the application has it: never late
  writing,   // the peer does not read: cut
  closing,   // handshakes and farewells: cut
};

class WatchedConnection {
 public:
  // By the thread that drives the connection.
  void watch(Step step, SteadyTime deadline);
  // A sweep has ended the input because the deadline had passed.
  bool late() const { return late_.load(std::memory_order_acquire); }
  Step step() const { return static_cast<Step>(watched_.load(std::memory_order_relaxed) & 7U); }

 protected:
  ~WatchedConnection() = default;

 private:
  friend class ConnectionRegistry;
  std::atomic<std::uint64_t> watched_{~std::uint64_t{0} << 3};  // milliseconds, then the step
  std::atomic<bool> late_{false};
  int descriptor_ = -1;
  WatchedConnection* previous_ = nullptr;
  WatchedConnection* next_ = nullptr;
};

class ConnectionRegistry {
 public:
  // How many are open, this one included.
  std::size_t add(WatchedConnection& connection, int descriptor);
  // Harmless when it was removed before.
  void remove(WatchedConnection& connection);
  std::size_t size() const { return size_.load(std::memory_order_relaxed); }

  // Ends what is late at `now`; with `idle_too` also what is idle.
  void sweep(SteadyTime now, bool idle_too);
  // Cuts every connection, whatever its step.
  void abort_all();
  // Keeps `connection` alive, doing nothing, until a sweep at or after `until`: after a late answer
  // the peer gets time to read it before the descriptor goes.
  void park(std::shared_ptr<void> connection, SteadyTime until);
  void drop_parked();
  // False when `until` has come first.
  bool wait_until_empty(SteadyTime until);

 private:
  struct Parked {
    SteadyTime until;
    std::shared_ptr<void> connection;
  };
  mutable std::mutex mutex_;
  std::condition_variable emptied_;
  WatchedConnection* first_ = nullptr;
  std::atomic<std::size_t> size_{0};
  std::vector<Parked> parked_;
};

}  // namespace betrace::kms
