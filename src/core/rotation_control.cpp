#include "core/rotation_control.h"

#include <algorithm>

#include <pthread.h>

#include "base/time_slice.h"
#include "base/try.h"
#include "core/rotation_note.h"
#include "core/run_on.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::string_view by_schedule = "schedule";  // a run's trigger
constexpr int ticks_between_looks = 5;                // for a run that was interrupted elsewhere
constexpr int ticks_between_seeds = 60;
constexpr std::size_t seeds_at_once_max = 500;
constexpr std::size_t reported_max = 100'000;
constexpr std::size_t runs_reported_max = 10'000;

spdlog::logger& log() {
  static auto& instance = logger(log_category::rotation);
  return instance;
}

std::unexpected<Error> already_running() {
  return fail(ErrorCode::rotation_running, "a rotation is running already; see its status");
}

// By the pace it had until now.
void estimate(RotationRun& run, SystemTime now) {
  const auto done = run.rotated_tenants + run.failed_tenants;
  if (run.state != RotationRun::State::running || done == 0 || now <= run.started_at) return;
  const auto left = run.total_tenants - std::min(run.total_tenants, done);
  const std::chrono::duration<double, std::milli> each =
      std::chrono::duration<double, std::milli>(now - run.started_at) / static_cast<double>(done);
  run.estimated_completion =
      now + std::chrono::duration_cast<std::chrono::milliseconds>(each * static_cast<double>(left));
}

}  // namespace

Rotation::Rotation(RotationParts parts, RotationOptions options,
                   std::unique_ptr<RotationSchedule> schedule)
    : parts_(std::move(parts)), options_(options), schedule_(std::move(schedule)) {}

Rotation::~Rotation() {
  thread_.request_stop();
  wake_.notify_all();
}

void Rotation::begin() {
  thread_ = std::jthread([this](std::stop_token stop) {
    pthread_setname_np(pthread_self(), "kms-rotation");
    take_long_slices();
    while (!stop.stop_requested()) {
      tick(stop);
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, seconds(1), [this] { return requested_.has_value(); });
    }
  });
}

void Rotation::tick(std::stop_token stop) {
  std::optional<Begun> begun;
  {
    const std::lock_guard lock(mutex_);
    begun.swap(requested_);
  }
  if (begun) return execute(*std::move(begun), std::move(stop));
  if (busy_.load()) return;  // begun, and about to be handed over

  const auto call = CallContext::system("schedule");
  if (const auto due = schedule_->is_due(call); due && *due) {
    auto scheduled =
        begin_run(call, {.force = false, .stagger = {}, .trigger = std::string(by_schedule)});
    const bool running = !scheduled && scheduled.error().code == ErrorCode::rotation_running;
    if (!scheduled && !running) {
      log().warn("the scheduled rotation cannot begin yet: {}", scheduled.error().message);
      return;
    }
    if (running) log().info("The scheduled rotation is left out: another one is running");
    if (const auto noted = schedule_->begun(call); !noted) {
      log().warn("the time of the rotation was not written: {}", noted.error().message);
    }
    if (scheduled) return execute(*std::move(scheduled), std::move(stop));
  }
  const int ticks = ticks_++;
  if (ticks % ticks_between_looks == 0) {
    auto found = take_over(call);
    if (found && *found) return execute(**std::move(found), std::move(stop));
  }
  if (ticks % ticks_between_seeds != 0) return;
  if (const auto destroyed = destroy_old_seeds(); !destroyed) {
    log().warn("old signing seeds are not destroyed yet: {}", destroyed.error().message);
  }
}

void Rotation::start(CallContext call, RotationRequest request, Done<RotationRun> done) {
  run_on<RotationRun>(parts_.store_threads, std::move(done),
                      [this, call = std::move(call), request]() -> Result<RotationRun> {
                        auto begun = TRY(begin_run(call, request));
                        auto run = begun.run;
                        const std::lock_guard lock(mutex_);
                        requested_ = std::move(begun);
                        wake_.notify_all();
                        return run;
                      });
}

// The schedule's runs also take what would come of age before the next one, and be overdue until
// then; at most a tenth of the age early, however rare they are.
SystemTime Rotation::cutoff(const RotationRequest& request, SystemTime now) const {
  if (request.force) return now;
  const SystemTime old = now - options_.max_age;
  if (request.trigger != by_schedule) return old;
  const auto next = schedule_->time_after(now);
  const SystemTime::duration ahead_max = milliseconds(options_.max_age) / 10;
  return next ? old + std::min(*next - now, ahead_max) : old;
}

Result<Rotation::Begun> Rotation::begin_run(const CallContext& call,
                                            const RotationRequest& request) {
  if (busy_.exchange(true)) return already_running();
  const auto attempt = [&]() -> Result<Begun> {
    auto& leases = parts_.store.coordination();
    const auto fence = leases.acquire(call, rotation_lease, parts_.node, options_.lease);
    if (!fence && fence.error().code == ErrorCode::conflict) return already_running();
    if (!fence) return std::unexpected(fence.error());
    const auto now = parts_.clock.now();
    Begun begun{.run = {.id = KeyId::generate(now).str(),
                        .state = RotationRun::State::running,
                        .trigger = request.trigger,
                        .node = parts_.node,
                        .force = request.force,
                        .cutoff = cutoff(request, now),
                        .started_at = now},
                .fence = *fence,
                .stagger = request.stagger};
    begun.run.total_tenants =
        TRY(parts_.store.count_tenants_with_keys_before(call, begun.run.cutoff));
    TRY(parts_.store.commit(call,
                            {change::Fence{std::string(rotation_lease), *fence},
                             change::Note{std::string(latest_rotation_note), to_text(begun.run)}}));
    publish(begun.run);
    return begun;
  };
  auto begun = attempt();
  if (!begun) busy_.store(false);
  return begun;
}

// A run whose daemon has gone: its cutoff says what is left of it.
Result<std::optional<Rotation::Begun>> Rotation::take_over(const CallContext& call) {
  const auto text = TRY(parts_.store.find_note(call, latest_rotation_note));
  if (!text) return std::nullopt;
  auto run = TRY(parse_rotation_run(*text));
  if (run.state != RotationRun::State::running) return std::nullopt;
  auto& leases = parts_.store.coordination();
  if (TRY(leases.holder(call, rotation_lease))) return std::nullopt;
  if (busy_.exchange(true)) return std::nullopt;
  const auto fence = leases.acquire(call, rotation_lease, parts_.node, options_.lease);
  const auto left = parts_.store.count_tenants_with_keys_before(call, run.cutoff);
  if (!fence || !left) {
    busy_.store(false);
    return std::nullopt;
  }
  log().info("Key rotation goes on where {} was interrupted: {} tenants are left", run.node, *left);
  run.node = parts_.node;
  run.trigger = "resumed";
  run.failed_tenants = 0;
  run.failures.clear();
  run.total_tenants = run.rotated_tenants + *left;
  publish(run);
  return Begun{.run = std::move(run), .fence = *fence, .stagger = {}};
}

void Rotation::execute(Begun begun, std::stop_token stop) {
  auto options = options_;
  if (begun.stagger) options.stagger = *begun.stagger;
  const auto fence = begun.fence;
  RotationRunner(parts_, options, std::move(begun.run), fence, [this](const RotationRun& run) {
    publish(run);
  }).work(std::move(stop));
  const auto call = CallContext::system("rotation");
  static_cast<void>(parts_.store.coordination().release(call, rotation_lease, fence));
  static_cast<void>(parts_.keys.refresh_metrics());  // it is refreshed anyway, a little later
  const std::lock_guard lock(mutex_);
  own_run_.reset();
  busy_.store(false);
}

void Rotation::publish(const RotationRun& run) {
  const std::lock_guard lock(mutex_);
  own_run_ = run;
}

void Rotation::status(CallContext call, Done<RotationRun> done) {
  run_on<RotationRun>(parts_.store_threads, std::move(done),
                      [this, call = std::move(call)] { return status_now(call); });
}

Result<RotationRun> Rotation::status_now(const CallContext& call) {
  const auto now = parts_.clock.now();
  {
    const std::lock_guard lock(mutex_);
    if (own_run_) {
      auto run = *own_run_;
      estimate(run, now);
      return run;
    }
  }
  const auto text = TRY(parts_.store.find_note(call, latest_rotation_note));
  if (!text) return RotationRun();
  auto run = TRY(parse_rotation_run(*text));
  if (run.state != RotationRun::State::running) return run;
  if (!TRY(parts_.store.coordination().holder(call, rotation_lease))) {
    run.state = RotationRun::State::interrupted;
  }
  estimate(run, now);
  return run;
}

void Rotation::due(CallContext call, AgePlace after, std::size_t limit,
                   Done<std::vector<DueKey>> done) {
  run_on<std::vector<DueKey>>(
      parts_.store_threads, std::move(done),
      [this, call = std::move(call), after = std::move(after),
       limit]() -> Result<std::vector<DueKey>> {
        const auto now = parts_.clock.now();
        auto keys =
            TRY(parts_.store.keys_created_before(call, now - options_.max_age, after, limit));
        std::vector<DueKey> due;
        for (auto& key : keys) {
          const auto age = std::chrono::floor<std::chrono::days>(now - key.created_at);
          due.push_back({.key = std::move(key), .age = age});
        }
        return due;
      });
}

void Rotation::report(CallContext call, SystemTime from, SystemTime to, Done<RotationReport> done) {
  run_on<RotationReport>(
      parts_.store_threads, std::move(done),
      [this, call = std::move(call), from, to] { return report_now(call, from, to); });
}

Result<RotationReport> Rotation::report_now(const CallContext& call, SystemTime from,
                                            SystemTime to) {
  RotationReport report{.from = from, .to = to, .max_age = options_.max_age};
  const auto replaced = TRY(parts_.store.replacements_between(call, from, to, reported_max + 1));
  for (const auto& [predecessor, successor] : replaced) {
    if (report.rotated.size() == reported_max) break;
    report.rotated.push_back({.tenant = successor.tenant,
                              .type = successor.type,
                              .old_key = predecessor,
                              .new_key = successor.id,
                              .new_version = successor.version,
                              .rotated_at = successor.created_at});
  }
  const auto notes = TRY(parts_.store.list_notes(call, rotation_run_prefix, "", runs_reported_max));
  for (const auto& [name, text] : notes) {
    auto run = TRY(parse_rotation_run(text));
    if (run.started_at >= from && run.started_at < to) report.runs.push_back(std::move(run));
  }
  report.truncated = replaced.size() > reported_max || notes.size() == runs_reported_max;
  report.tenants = TRY(parts_.store.counts(call)).tenants;
  report.overdue =
      TRY(parts_.store.count_tenants_with_keys_before(call, parts_.clock.now() - options_.max_age));
  return report;
}

Status Rotation::destroy_old_seeds() {
  const auto call = CallContext::system("old-seeds");
  const auto now = parts_.clock.now();
  for (;;) {
    const auto seeds =
        TRY(parts_.store.retired_seeds(call, now - options_.keep_seeds, seeds_at_once_max));
    if (seeds.empty()) return {};
    std::vector<Commit> commits;
    for (const auto& key : seeds) {
      commits.push_back({change::DestroySecret{.key = key.id, .at = now}});
    }
    for (const auto& done : parts_.store.commit_each(call, commits)) TRY(done);
    log().info("Destroyed the private halves of {} rotated signing keys", seeds.size());
  }
}

}  // namespace betrace::kms
