// Remembers which keys have left a cache, not the keys: so that a miss can say whether a larger
// cache, or one that keeps its keys longer, would have had it. Bounded; asked on a miss and told of
// an eviction, never on a hit. Thread-safe.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <mutex>
#include <unordered_map>

namespace betrace::kms {

class CacheGhost {
 public:
  using Time = std::chrono::steady_clock::time_point;
  enum class Cause : std::uint8_t { room, expired };
  // By 2, 4 and 8 times the size, or the time to live: each counts what the smaller one does too.
  using Served = std::array<std::uint64_t, 3>;

  CacheGhost(std::size_t cache_size, std::chrono::milliseconds ttl);

  // A key, by its hash, that was loaded at `loaded_at` has left the cache.
  void left(std::size_t key, Cause cause, Time loaded_at);
  // A key that is not in the cache was asked for; a key that is there and has expired.
  void missed(std::size_t key, Time now);
  void missed_expired(Time loaded_at, Time now);

  Served larger() const;
  Served longer() const;

 private:
  static constexpr std::size_t remembered_max = 16'384;
  struct Note {
    Cause cause = Cause::room;
    Time loaded_at;
    std::uint64_t number = 0;  // of its leaving
    std::uint64_t place = 0;   // among those that left for want of room
  };
  void count_longer(Time loaded_at, Time now);

  const std::size_t cache_size_;
  const std::chrono::milliseconds ttl_;
  const std::size_t capacity_;
  mutable std::mutex mutex_;
  std::unordered_map<std::size_t, Note> notes_;
  std::deque<std::pair<std::size_t, std::uint64_t>> order_;  // key, number; oldest first
  std::uint64_t number_ = 0, place_ = 0;
  Served larger_{}, longer_{};
};

}  // namespace betrace::kms
