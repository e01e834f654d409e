#include "net/read_buffer.h"

#include <algorithm>
#include <cstring>

namespace betrace::kms {

std::span<char> ReadBuffer::prepare(std::size_t free_min) {
  if (capacity_ - end_ < free_min) {
    const auto needed = size() + free_min;
    move_to(needed <= capacity_ ? capacity_ : std::max({needed, 2 * capacity_, small_bytes}));
  }
  return {data_ + end_, capacity_ - end_};
}

void ReadBuffer::consume(std::size_t count) {
  wipe(data_ + begin_, count);
  begin_ += count;
  if (begin_ == end_) begin_ = end_ = 0;
}

void ReadBuffer::cut(std::size_t offset, std::size_t count) {
  auto* from = data_ + begin_ + offset;
  const auto behind = size() - offset - count;
  std::memmove(from, from + count, behind);
  wipe(from + behind, count);
  end_ -= count;
}

void ReadBuffer::shrink() {
  if (empty() && capacity_ > small_bytes) release();
}

void ReadBuffer::move_to(std::size_t capacity) {
  if (capacity == capacity_) {
    const auto moved = size();
    std::memmove(data_, data_ + begin_, moved);
    wipe(data_ + moved, end_ - moved);
    begin_ = 0;
    end_ = moved;
    return;
  }
  auto* fresh = WipingAllocator<char>().allocate(capacity);
  const auto kept = size();
  if (kept != 0) std::memcpy(fresh, data_ + begin_, kept);
  release();
  data_ = fresh;
  capacity_ = capacity;
  end_ = kept;
}

void ReadBuffer::release() {
  if (data_ == nullptr) return;
  wipe(data_ + begin_, size());
  // What lies outside text() was wiped when it was consumed.
  std::allocator<char>().deallocate(data_, capacity_);
  data_ = nullptr;
  capacity_ = begin_ = end_ = 0;
}

}  // namespace betrace::kms
