#include "net/curl_pool.h"

#include <cstdlib>
#include <cstring>

#include <malloc.h>

#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {
namespace {

// libcurl copies credentials, headers and answers into memory of its own and frees it unwiped.
void wiping_free(void* block) {
  if (block == nullptr) return;
  wipe(block, malloc_usable_size(block));
  std::free(block);
}

void* wiping_realloc(void* block, std::size_t size) {
  if (block == nullptr) return std::malloc(size);
  const auto old_size = malloc_usable_size(block);
  if (size != 0 && size <= old_size) return block;
  void* moved = std::malloc(size);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, block, std::min(old_size, size));
  wiping_free(block);
  return moved;
}

char* copy_text(const char* text) { return ::strdup(text); }

void initialise_once() {
  // A host program that has initialised libcurl before keeps its own allocation.
  static const auto initialised = curl_global_init_mem(
      CURL_GLOBAL_DEFAULT, std::malloc, wiping_free, wiping_realloc, copy_text, std::calloc);
  static_cast<void>(initialised);
}

}  // namespace

CurlPool::CurlPool() {
  initialise_once();
  share_ = curl_share_init();
  if (share_ == nullptr) return;
  curl_share_setopt(share_, CURLSHOPT_LOCKFUNC, &CurlPool::lock);
  curl_share_setopt(share_, CURLSHOPT_UNLOCKFUNC, &CurlPool::unlock);
  curl_share_setopt(share_, CURLSHOPT_USERDATA, this);
  curl_share_setopt(share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
  curl_share_setopt(share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
}

CurlPool::~CurlPool() {
  for (auto* handle : idle_) curl_easy_cleanup(handle);
  if (share_ != nullptr) curl_share_cleanup(share_);
}

CURL* CurlPool::take() {
  {
    const std::lock_guard guard(mutex_);
    if (!idle_.empty()) {
      auto* handle = idle_.back();
      idle_.pop_back();
      return handle;
    }
  }
  auto* handle = curl_easy_init();
  if (handle != nullptr && share_ != nullptr) curl_easy_setopt(handle, CURLOPT_SHARE, share_);
  return handle;
}

void CurlPool::give_back(CURL* handle) {
  curl_easy_reset(handle);
  {
    const std::lock_guard guard(mutex_);
    if (idle_.size() < idle_max) {
      idle_.push_back(handle);
      return;
    }
  }
  curl_easy_cleanup(handle);
}

void CurlPool::lock(CURL*, curl_lock_data what, curl_lock_access, void* self) {
  static_cast<CurlPool*>(self)->shared_mutexes_[what].lock();
}

void CurlPool::unlock(CURL*, curl_lock_data what, void* self) {
  static_cast<CurlPool*>(self)->shared_mutexes_[what].unlock();
}

}  // namespace betrace::kms
