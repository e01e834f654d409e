// Which generations of the change log this process wrote itself. A daemon drops what it changed at
// once, and must not drop it again, freshly loaded, when it reads the log. Remembers the newest
// ranges; one that is forgotten costs a load, nothing else. Thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>

namespace betrace::kms {

class OwnWrites {
 public:
  // Everything after `before` up to `last`; transactions arrive in the log's order.
  void add(std::uint64_t before, std::uint64_t last) {
    if (last <= before) return;
    const std::lock_guard lock(mutex_);
    if (!ranges_.empty() && ranges_.back().last == before) {
      ranges_.back().last = last;
      return;
    }
    if (ranges_.size() == ranges_max) ranges_.pop_front();
    ranges_.push_back({before, last});
  }

  bool contains(std::uint64_t generation) const {
    const std::lock_guard lock(mutex_);
    for (auto range = ranges_.rbegin(); range != ranges_.rend(); ++range) {
      if (generation > range->before) return generation <= range->last;
    }
    return false;
  }

 private:
  static constexpr std::size_t ranges_max = 1024;
  struct Range {
    std::uint64_t before, last;
  };
  mutable std::mutex mutex_;
  std::deque<Range> ranges_;
};

}  // namespace betrace::kms
