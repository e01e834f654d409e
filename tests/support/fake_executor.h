// Executors without threads: one runs a job at once, the other when it is told.
#pragma once

#include <deque>

#include "base/executor.h"

namespace betrace::kms {

class InlineExecutor final : public Executor {
 public:
  bool post(Job job) override {
    if (full) return false;
    job();
    return true;
  }
  bool full = false;
};

class ManualExecutor final : public Executor {
 public:
  bool post(Job job) override {
    jobs_.push_back(std::move(job));
    return true;
  }
  std::size_t waiting() const { return jobs_.size(); }
  void run_one() {
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    job();
  }
  void run_all() {
    while (!jobs_.empty()) run_one();
  }

 private:
  std::deque<Job> jobs_;
};

}  // namespace betrace::kms
