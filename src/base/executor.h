// Where work that may block runs. A full queue is said at once, so that overload becomes a 503
// and never a growing list. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace betrace::kms {

class Executor {
 public:
  using Job = std::move_only_function<void()>;
  virtual ~Executor() = default;
  // False, and the job untouched by anybody, when the queue is full or the executor has stopped.
  [[nodiscard]] virtual bool post(Job job) = 0;
};

// A fixed number of threads over one bounded queue.
class ThreadPool final : public Executor {
 public:
  struct Options {
    std::string name;  // of the threads, as seen in logs and in top(1); at most 12 characters
    std::size_t threads = 1;
    std::size_t queue_max = 1024;
  };
  explicit ThreadPool(Options options);
  // Runs what is queued, then ends its threads.
  ~ThreadPool() override;

  bool post(Job job) override;
  // As the destructor; afterwards post() answers false.
  void stop();

 private:
  void run();

  const Options options_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> queue_;
  bool stopping_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace betrace::kms
