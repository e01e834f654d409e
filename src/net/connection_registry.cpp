#include "net/connection_registry.h"

#include <algorithm>
#include <iterator>

#include <sys/socket.h>

namespace betrace::kms {
namespace {

std::uint64_t milliseconds_of(SteadyTime time) {
  const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch());
  return static_cast<std::uint64_t>(since.count());
}

}  // namespace

void WatchedConnection::watch(Step step, SteadyTime deadline) {
  watched_.store(milliseconds_of(deadline) << 3 | static_cast<std::uint64_t>(step),
                 std::memory_order_relaxed);
}

std::size_t ConnectionRegistry::add(WatchedConnection& connection, int descriptor) {
  const std::lock_guard lock(mutex_);
  connection.descriptor_ = descriptor;
  connection.next_ = first_;
  if (first_ != nullptr) first_->previous_ = &connection;
  first_ = &connection;
  return size_.fetch_add(1, std::memory_order_relaxed) + 1;
}

void ConnectionRegistry::remove(WatchedConnection& connection) {
  const std::lock_guard lock(mutex_);
  if (connection.descriptor_ < 0) return;
  connection.descriptor_ = -1;
  if (connection.previous_ != nullptr) connection.previous_->next_ = connection.next_;
  if (connection.next_ != nullptr) connection.next_->previous_ = connection.previous_;
  if (first_ == &connection) first_ = connection.next_;
  connection.previous_ = connection.next_ = nullptr;
  if (size_.fetch_sub(1, std::memory_order_relaxed) == 1) emptied_.notify_all();
}

void ConnectionRegistry::sweep(SteadyTime now, bool idle_too) {
  const auto now_ms = milliseconds_of(now);
  std::vector<Parked> over;
  {
    const std::lock_guard lock(mutex_);
    for (auto* each = first_; each != nullptr; each = each->next_) {
      const auto watched = each->watched_.load(std::memory_order_relaxed);
      const auto step = static_cast<Step>(watched & 7U);
      if (step == Step::handling) continue;
      const bool ended = watched >> 3 < now_ms || (idle_too && step == Step::idle);
      if (!ended) continue;
      const bool cut = step == Step::writing || step == Step::closing;
      const bool known = each->late_.exchange(true, std::memory_order_acq_rel);
      // Who was late with a request may be late again with reading the answer.
      if (cut || !known) ::shutdown(each->descriptor_, cut ? SHUT_RDWR : SHUT_RD);
    }
    const auto last = std::partition(parked_.begin(), parked_.end(),
                                     [&](const Parked& each) { return each.until > now; });
    over.assign(std::make_move_iterator(last), std::make_move_iterator(parked_.end()));
    parked_.erase(last, parked_.end());
  }
  // `over` goes here, outside the lock: the last owner of a connection removes it from us.
}

void ConnectionRegistry::abort_all() {
  const std::lock_guard lock(mutex_);
  for (auto* each = first_; each != nullptr; each = each->next_) {
    each->late_.store(true, std::memory_order_release);
    ::shutdown(each->descriptor_, SHUT_RDWR);
  }
}

void ConnectionRegistry::park(std::shared_ptr<void> connection, SteadyTime until) {
  const std::lock_guard lock(mutex_);
  parked_.push_back({until, std::move(connection)});
}

void ConnectionRegistry::drop_parked() {
  std::vector<Parked> dropped;
  const std::lock_guard lock(mutex_);
  dropped.swap(parked_);
}

bool ConnectionRegistry::wait_until_empty(SteadyTime until) {
  std::unique_lock lock(mutex_);
  return emptied_.wait_until(lock, until, [this] { return first_ == nullptr; });
}

}  // namespace betrace::kms
