// A secret of fixed size in memory that is locked, left out of core dumps, and wiped when it goes.
//
// The bytes live in a process-wide arena of small slots. Move-only, so a secret has one owner; no
// stream operator, so it cannot be printed; equality is constant-time. The one door to the bytes is
// expose(): search for that name to list every place that looks inside.
// Not synchronised: like a std::vector, one thread writes or many read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace betrace::kms {

class SecretBytes {
 public:
  SecretBytes() = default;
  // `size` zero bytes. Throws std::bad_alloc when no memory is left.
  explicit SecretBytes(std::size_t size);
  static SecretBytes copy_of(std::span<const std::uint8_t> bytes);
  static SecretBytes random(std::size_t size);

  SecretBytes(SecretBytes&& other) noexcept;
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes();

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::span<const std::uint8_t> expose() const { return {data_, size_}; }
  std::span<std::uint8_t> expose_mutable() { return {data_, size_}; }

  // Constant-time for equal sizes.
  friend bool operator==(const SecretBytes& a, const SecretBytes& b);

 private:
  std::uint8_t* data_ = nullptr;
  std::uint32_t size_ = 0;
};

// Overwrites in a way the compiler keeps.
void wipe(void* data, std::size_t size) noexcept;

// For buffers of any size that carry a secret for one request: ordinary memory, wiped when freed.
template <class T>
struct WipingAllocator {
  using value_type = T;
  WipingAllocator() = default;
  template <class U>
  WipingAllocator(const WipingAllocator<U>&) noexcept {}
  T* allocate(std::size_t n) { return std::allocator<T>().allocate(n); }
  void deallocate(T* p, std::size_t n) noexcept {
    wipe(p, n * sizeof(T));
    std::allocator<T>().deallocate(p, n);
  }
  friend bool operator==(const WipingAllocator&, const WipingAllocator&) { return true; }
};
using WipedBytes = std::vector<std::uint8_t, WipingAllocator<std::uint8_t>>;
// Short ones live inside the object, which wipes nothing: for bodies, not for 15-byte secrets.
using WipedString = std::basic_string<char, std::char_traits<char>, WipingAllocator<char>>;

// What the operating system granted. `locked` is false where RLIMIT_MEMLOCK is too small; secrets
// then still stay out of core dumps.
struct SecretMemoryState {
  bool locked = true;
  bool hidden_from_kernel = false;  // memfd_secret(2)
  std::size_t bytes_reserved = 0;
  std::size_t bytes_used = 0;
};
SecretMemoryState secret_memory_state();

}  // namespace betrace::kms
