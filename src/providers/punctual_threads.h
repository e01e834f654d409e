// Threads for calls that nobody can cancel: whoever asks leaves at the deadline, and a call that
// hangs keeps its thread until it ends. Thread-safe.
//
// To wake a thread takes as long as a module that does AES in the process. So both sides look for
// each other for a moment before they sleep, giving way to all others: whoever asked looks for the
// end, the thread for the next call.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace betrace::kms {

// Whether to look. A look that comes to nothing, or during which others had the core, is paid back
// by calls without one, so that over time looking costs no more than sleeping does: nothing while
// the service is idle, little while a device is slow or no core is free. Not synchronised.
class Looks {
 public:
  using Duration = std::chrono::steady_clock::duration;
  static constexpr std::chrono::microseconds longest{100}, two_wakes{20};

  // Asked once a call.
  bool pay() {
    if (debt_ <= Duration::zero()) return true;
    debt_ -= two_wakes;
    return false;
  }
  void took(Duration time) {
    if (time >= longest) debt_ += time;
  }

 private:
  Duration debt_{};
};

class PunctualThreads {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Lives until nobody waits for it and it has ended.
  class Call {
   public:
    virtual ~Call() = default;
    virtual void run() noexcept = 0;

   private:
    friend class PunctualThreads;
    std::atomic<bool> ended_ = false;
    std::condition_variable answered_;
  };

  // `name`: of the threads, as seen in top(1); at most 12 characters. `calls_max`: at a time.
  PunctualThreads(const std::string& name, std::size_t calls_max);
  // Calls that have not ended after a second are left behind, each with its thread.
  ~PunctualThreads();
  PunctualThreads(const PunctualThreads&) = delete;
  PunctualThreads& operator=(const PunctualThreads&) = delete;

  // Whether it has ended by then. Waits for a thread where all have calls; where none comes free
  // the call is not made.
  bool run(const std::shared_ptr<Call>& call, Time deadline);
  // Calls that have not ended.
  std::size_t running() const;

 private:
  // Outlives the owner where a call does.
  struct Shared {
    explicit Shared(std::size_t calls) : calls_max(calls), calling(calls) {}
    std::shared_ptr<Call> next(std::size_t thread);
    void end(Call& call, std::size_t thread);

    const std::size_t calls_max;
    std::mutex mutex;  // of all below
    std::condition_variable asked, ended;
    std::deque<std::shared_ptr<Call>> queue;
    std::vector<bool> calling;  // by thread
    std::size_t running = 0;    // queued ones as well
    bool looking = false;       // one thread, for the next call
    bool stopping = false;
    Looks looks;
    bool look_for_next = false;                    // as who asked last did
    alignas(64) std::atomic<bool> queued = false;  // for who looks
  };

  const std::shared_ptr<Shared> shared_;
  std::vector<std::jthread> threads_;
};

}  // namespace betrace::kms
