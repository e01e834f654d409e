// The bytes of a connection that have arrived and are not yet dealt with. Small while a connection
// is idle, grown for a large head; what has been dealt with is wiped at once, because requests
// carry plaintexts and tokens. Not thread-safe.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

class ReadBuffer {
 public:
  ReadBuffer() = default;
  ~ReadBuffer() { release(); }
  ReadBuffer(const ReadBuffer&) = delete;
  ReadBuffer& operator=(const ReadBuffer&) = delete;

  std::string_view text() const { return {data_ + begin_, end_ - begin_}; }
  std::size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }

  // Room for at least `free_min` more bytes behind text(). May move text().
  std::span<char> prepare(std::size_t free_min);
  // `count` bytes of the room have been filled.
  void commit(std::size_t count) { end_ += count; }
  // The first `count` bytes of text() are done with.
  void consume(std::size_t count);
  // `count` bytes of text(), `offset` from its start, are done with; what follows moves up.
  void cut(std::size_t offset, std::size_t count);
  // Back to the small size, if nothing is in it.
  void shrink();

 private:
  static constexpr std::size_t small_bytes = 2048;
  void move_to(std::size_t capacity);
  void release();

  char* data_ = nullptr;
  std::size_t capacity_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace betrace::kms
