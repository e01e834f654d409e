// The arena: chunks of memory that are locked and left out of dumps, cut into slots of one size
// each. Slots of keys (32 and 64 bytes) are many, larger ones few; a slot is wiped when it is
// freed.
#include "betrace/kms/secret_bytes.h"

#include <array>
#include <bit>
#include <cstring>
#include <mutex>
#include <new>
#include <utility>

#include <openssl/crypto.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace betrace::kms {
namespace {

constexpr std::size_t slot_bytes_min = 32;
constexpr std::size_t slot_classes = 8;  // 32, 64, … 4096; larger ones get pages of their own
constexpr std::size_t chunk_bytes = 64 * 1024;

struct FreeSlot {
  FreeSlot* next;
};

class Arena {
 public:
  void* take(std::size_t size) {
    const std::lock_guard lock(mutex_);
    const auto slot_class = class_of(size);
    state_.bytes_used += size;
    if (slot_class >= slot_classes) return map(page_ceiling(size));
    auto*& head = free_[slot_class];
    if (head == nullptr) head = cut(slot_class);
    return std::exchange(head, head->next);
  }

  void give_back(void* data, std::size_t size) noexcept {
    wipe(data, size);
    const std::lock_guard lock(mutex_);
    state_.bytes_used -= size;
    const auto slot_class = class_of(size);
    if (slot_class >= slot_classes) {
      munmap(data, page_ceiling(size));
      state_.bytes_reserved -= page_ceiling(size);
      return;
    }
    free_[slot_class] = new (data) FreeSlot{free_[slot_class]};
  }

  SecretMemoryState state() {
    const std::lock_guard lock(mutex_);
    return state_;
  }

 private:
  static std::size_t class_of(std::size_t size) {
    return static_cast<std::size_t>(
        std::bit_width((size + slot_bytes_min - 1) / slot_bytes_min - 1));
  }
  static std::size_t page_ceiling(std::size_t size) { return (size + 4095) / 4096 * 4096; }

  FreeSlot* cut(std::size_t slot_class) {
    const auto slot_bytes = slot_bytes_min << slot_class;
    auto* const chunk = static_cast<std::uint8_t*>(map(chunk_bytes));
    FreeSlot* head = nullptr;
    for (std::size_t at = chunk_bytes; at >= slot_bytes; at -= slot_bytes) {
      head = new (chunk + at - slot_bytes) FreeSlot{head};
    }
    return head;
  }

  // Anonymous pages: memfd_secret(2) is switched off in Debian 12's kernel unless asked for at
  // boot, and its pages count against the same lock limit.
  void* map(std::size_t size) {
    void* const data =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) throw std::bad_alloc();
    madvise(data, size, MADV_DONTDUMP);
    madvise(data, size, MADV_WIPEONFORK);
    if (mlock(data, size) != 0) state_.locked = false;
    state_.bytes_reserved += size;
    return data;
  }

  std::mutex mutex_;
  std::array<FreeSlot*, slot_classes> free_{};
  SecretMemoryState state_;
};

Arena& arena() {
  static Arena* const instance = new Arena;  // outlives every static that holds a secret
  return *instance;
}

}  // namespace

void wipe(void* data, std::size_t size) noexcept { OPENSSL_cleanse(data, size); }

SecretBytes::SecretBytes(std::size_t size) : size_(static_cast<std::uint32_t>(size)) {
  if (size == 0) return;
  data_ = static_cast<std::uint8_t*>(arena().take(size));
  std::memset(data_, 0, size);
}

SecretBytes SecretBytes::copy_of(std::span<const std::uint8_t> bytes) {
  SecretBytes copy(bytes.size());
  if (!bytes.empty()) std::memcpy(copy.data_, bytes.data(), bytes.size());
  return copy;
}

SecretBytes SecretBytes::random(std::size_t size) {
  SecretBytes secret(size);
  randombytes_buf(secret.data_, size);
  return secret;
}

SecretBytes::SecretBytes(SecretBytes&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

SecretBytes::~SecretBytes() {
  if (data_ != nullptr) arena().give_back(data_, size_);
}

bool operator==(const SecretBytes& a, const SecretBytes& b) {
  return a.size_ == b.size_ && CRYPTO_memcmp(a.data_, b.data_, a.size_) == 0;
}

SecretMemoryState secret_memory_state() { return arena().state(); }

}  // namespace betrace::kms
