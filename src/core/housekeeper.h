// What must happen without anybody asking: breakers learn that their delay is over, changes of
// other daemons are followed, activity is written, expired keys leave memory. One thread keeps the
// time; what may block runs on the store's threads or the provider's, one of a kind at a time.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "betrace/kms/clock.h"

#include "base/executor.h"
#include "core/circuit_breaker.h"
#include "core/key_service_impl.h"
#include "core/lifecycle.h"
#include "core/membership.h"

namespace betrace::kms {

class Housekeeper {
 public:
  // All of them must outlive it.
  struct Parts {
    KeyServiceImpl& keys;
    Membership& membership;
    Lifecycle& lifecycle;
    EpochKeeper& epochs;
    Executor& store_threads;
    Executor& provider_threads;
    const Clock& clock;
  };
  Housekeeper(const Parts& parts, std::vector<CircuitBreaker*> breakers);
  ~Housekeeper();
  void start();

 private:
  struct Chore {
    std::string_view name;
    std::chrono::milliseconds interval;
    std::function<Status()> work;
    Executor* on = nullptr;
    std::chrono::steady_clock::time_point due = {};
    std::shared_ptr<std::atomic<bool>> running = std::make_shared<std::atomic<bool>>(false);
    std::shared_ptr<std::atomic<bool>> failing = std::make_shared<std::atomic<bool>>(false);
  };
  void run(std::stop_token stop);
  void begin(Chore& chore);

  std::vector<CircuitBreaker*> breakers_;
  const Clock& clock_;
  std::vector<Chore> chores_;
  std::jthread thread_;
};

}  // namespace betrace::kms
