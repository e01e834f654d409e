#include "core/housekeeper.h"

#include <pthread.h>

#include "telemetry/log.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr milliseconds beat{100};

}  // namespace

Housekeeper::Housekeeper(const Parts& parts, std::vector<CircuitBreaker*> breakers)
    : breakers_(std::move(breakers)), clock_(parts.clock) {
  auto& keys = parts.keys;
  const auto now = clock_.steady_now();
  const auto add = [&](std::string_view name, milliseconds interval, auto work) {
    chores_.push_back({.name = name,
                       .interval = interval,
                       .work = std::move(work),
                       .on = &parts.store_threads,
                       .due = now + interval});
  };
  add("follow changes", milliseconds(150),
      [&membership = parts.membership] { return membership.beat(); });
  add("go on with destructions", seconds(5),
      [&lifecycle = parts.lifecycle] { return lifecycle.resume(); });
  add("write activity", minutes(1), [&keys] { return keys.write_activity(); });
  add("refresh metrics", seconds(30), [&keys] { return keys.refresh_metrics(); });
  add("move the store's epoch on", seconds(5), [&epochs = parts.epochs] { return epochs.keep(); });
  chores_.back().on = &parts.provider_threads;
  add("sweep caches", seconds(10), [&keys]() -> Status {
    keys.sweep_caches();
    return {};
  });
}

Housekeeper::~Housekeeper() = default;

void Housekeeper::start() {
  thread_ = std::jthread([this](std::stop_token stop) {
    pthread_setname_np(pthread_self(), "kms-housekeep");
    run(std::move(stop));
  });
}

void Housekeeper::run(std::stop_token stop) {
  while (clock_.sleep_for(beat, stop)) {
    for (auto* breaker : breakers_) breaker->tick();
    for (auto& chore : chores_) {
      if (clock_.steady_now() >= chore.due) begin(chore);
    }
  }
}

void Housekeeper::begin(Chore& chore) {
  chore.due = clock_.steady_now() + chore.interval;
  if (chore.running->exchange(true)) return;
  const bool posted = chore.on->post(
      [name = chore.name, work = chore.work, running = chore.running, failing = chore.failing] {
        const auto status = work();
        // Said once when it begins to fail, not four times a second.
        if (!status && !failing->exchange(true)) {
          logger(log_category::kms).warn("cannot {}: {}", name, status.error().message);
        }
        if (status) failing->store(false);
        running->store(false);
      });
  if (!posted) chore.running->store(false);
}

}  // namespace betrace::kms
