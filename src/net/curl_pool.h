// Easy handles of libcurl that wait for their next call with their connections open, and what they
// share: resolved names and TLS sessions. Thread-safe.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include <curl/curl.h>

namespace betrace::kms {

class CurlPool {
 public:
  CurlPool();
  ~CurlPool();
  CurlPool(const CurlPool&) = delete;
  CurlPool& operator=(const CurlPool&) = delete;

  // A handle without any option but the share; null when memory is short.
  CURL* take();
  // The one used last is the next one taken: its connection is the likeliest to be alive still.
  void give_back(CURL* handle);

 private:
  static void lock(CURL*, curl_lock_data what, curl_lock_access, void* self);
  static void unlock(CURL*, curl_lock_data what, void* self);

  static constexpr std::size_t idle_max = 32;
  std::mutex mutex_;
  std::vector<CURL*> idle_;
  std::mutex shared_mutexes_[CURL_LOCK_DATA_LAST];
  CURLSH* share_ = nullptr;
};

}  // namespace betrace::kms
