#include "providers/punctual_threads.h"

#include <pthread.h>

namespace betrace::kms {
namespace {

using Clock = std::chrono::steady_clock;

// Until it is so or the time for it is over; how long that took. On one core the other side runs
// meanwhile, which is why this is no tight loop.
template <class Condition>
Looks::Duration look(Condition condition) {
  const auto begun = Clock::now();
  Looks::Duration took{};
  while (!condition() && took < Looks::longest) {
    std::this_thread::yield();
    took = Clock::now() - begun;
  }
  return took;
}

}  // namespace

PunctualThreads::PunctualThreads(const std::string& name, std::size_t calls_max)
    : shared_(std::make_shared<Shared>(calls_max)) {
  for (std::size_t i = 0; i < calls_max; ++i) {
    threads_.emplace_back([shared = shared_, i, name = name + "-" + std::to_string(i)] {
      pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
      while (const auto call = shared->next(i)) {
        call->run();
        shared->end(*call, i);
      }
    });
  }
}

PunctualThreads::~PunctualThreads() {
  std::unique_lock lock(shared_->mutex);
  shared_->stopping = true;
  shared_->asked.notify_all();
  shared_->ended.wait_for(lock, std::chrono::seconds(1), [&] { return shared_->running == 0; });
  shared_->queue.clear();  // so that those who wait for a call have none
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    if (shared_->calling[i]) threads_[i].detach();
  }
}

bool PunctualThreads::run(const std::shared_ptr<Call>& call, Time deadline) {
  auto& shared = *shared_;
  std::unique_lock lock(shared.mutex);
  const auto room = [&] { return shared.running < shared.calls_max; };
  if (!shared.ended.wait_until(lock, deadline, room)) return false;
  shared.queue.push_back(call);
  shared.queued = true;
  // Only who is alone looks: many would take the cores from the threads.
  const bool looks = ++shared.running == 1 && shared.looks.pay();
  shared.look_for_next = looks;
  const bool wake = !shared.looking || shared.queue.size() > 1;
  lock.unlock();
  if (wake) shared.asked.notify_one();
  const auto ended = [&] { return call->ended_.load(std::memory_order_acquire); };
  const auto took = looks ? look(ended) : Looks::Duration::zero();
  if (looks && took < Looks::longest) return true;
  lock.lock();
  shared.looks.took(took);
  return call->answered_.wait_until(lock, deadline, ended);
}

std::size_t PunctualThreads::running() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->running;
}

// Nothing where there is none and none will be.
std::shared_ptr<PunctualThreads::Call> PunctualThreads::Shared::next(std::size_t thread) {
  std::unique_lock lock(mutex);
  if (running == 0 && look_for_next && !looking && !stopping) {
    // Nobody is woken for the one call that is seen by who looks: its queue is seen again below.
    looking = true;
    lock.unlock();
    const auto took = look([&] { return queued.load(); });
    lock.lock();
    looking = false;
    looks.took(took);
  }
  asked.wait(lock, [&] { return stopping || !queue.empty(); });
  if (queue.empty()) return nullptr;
  auto call = std::move(queue.front());
  queue.pop_front();
  queued = !queue.empty();
  calling[thread] = true;
  return call;
}

void PunctualThreads::Shared::end(Call& call, std::size_t thread) {
  const std::lock_guard lock(mutex);
  --running;
  calling[thread] = false;
  call.ended_.store(true, std::memory_order_release);
  call.answered_.notify_one();
  ended.notify_one();
}

}  // namespace betrace::kms
