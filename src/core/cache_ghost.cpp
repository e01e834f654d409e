#include "core/cache_ghost.h"

#include <algorithm>

namespace betrace::kms {
namespace {

constexpr std::size_t factor(std::size_t i) { return std::size_t{2} << i; }

}  // namespace

CacheGhost::CacheGhost(std::size_t cache_size, std::chrono::milliseconds ttl)
    : cache_size_(cache_size),
      ttl_(ttl),
      capacity_(std::min(remembered_max, 7 * std::max<std::size_t>(1, cache_size))) {}

void CacheGhost::left(std::size_t key, Cause cause, Time loaded_at) {
  const std::lock_guard lock(mutex_);
  if (cause == Cause::room) ++place_;
  notes_.insert_or_assign(
      key, Note{.cause = cause, .loaded_at = loaded_at, .number = ++number_, .place = place_});
  order_.emplace_back(key, number_);
  while (order_.size() > capacity_) {
    const auto [oldest, number] = order_.front();
    order_.pop_front();
    const auto note = notes_.find(oldest);
    if (note != notes_.end() && note->second.number == number) notes_.erase(note);
  }
}

void CacheGhost::count_longer(Time loaded_at, Time now) {
  for (std::size_t i = 0; i < longer_.size(); ++i) {
    if (now - loaded_at < ttl_ * static_cast<int>(factor(i))) ++longer_[i];
  }
}

void CacheGhost::missed_expired(Time loaded_at, Time now) {
  const std::lock_guard lock(mutex_);
  count_longer(loaded_at, now);
}

void CacheGhost::missed(std::size_t key, Time now) {
  const std::lock_guard lock(mutex_);
  const auto found = notes_.find(key);
  if (found == notes_.end()) return;
  const Note note = found->second;
  notes_.erase(found);
  if (note.cause == Cause::expired) return count_longer(note.loaded_at, now);
  // As large as it may have been, its time would have been up.
  if (now - note.loaded_at >= ttl_) return;
  const auto since = place_ - note.place;
  for (std::size_t i = 0; i < larger_.size(); ++i) {
    if (since < (factor(i) - 1) * cache_size_) ++larger_[i];
  }
}

CacheGhost::Served CacheGhost::larger() const {
  const std::lock_guard lock(mutex_);
  return larger_;
}

CacheGhost::Served CacheGhost::longer() const {
  const std::lock_guard lock(mutex_);
  return longer_;
}

}  // namespace betrace::kms
