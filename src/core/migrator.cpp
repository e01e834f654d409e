#include "core/migrator.h"

#include <algorithm>

#include <fmt/format.h>
#include <pthread.h>

#include "base/try.h"
#include "core/migration_note.h"
#include "core/run_on.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

using std::chrono::seconds;

constexpr std::size_t failures_listed_max = 1000;
constexpr std::uint64_t calls_a_key = 3;     // unwrap, wrap, and open again
constexpr std::uint64_t calls_a_second = 2;  // wrap, and open again
constexpr int ticks_between_looks = 5;
constexpr int store_tries_max = 30;

spdlog::logger& log() {
  static auto& instance = logger(log_category::kms);
  return instance;
}

std::vector<MasterKey> targets_of(const MigrationRun& run) {
  std::vector<MasterKey> all{run.target};
  if (run.second) all.push_back(*run.second);
  return all;
}

std::string shown(std::span<const MasterKey> targets) {
  std::string text;
  for (const auto& each : targets) {
    text += fmt::format("{}{} {}", text.empty() ? "" : " and ", each.provider, each.master_key_id);
  }
  return text;
}

std::unexpected<Error> already_running() {
  return fail(ErrorCode::conflict, "a migration is running already; see its status");
}

}  // namespace

Migrator::Migrator(Parts parts, Options options)
    : parts_(std::move(parts)),
      options_(options),
      budget_(parts_.clock, options_.calls_per_second) {}

Migrator::~Migrator() {
  thread_.request_stop();
  wake_.notify_all();
}

void Migrator::begin() {
  thread_ = std::jthread([this](std::stop_token stop) {
    pthread_setname_np(pthread_self(), "kms-migrate");
    while (!stop.stop_requested()) {
      tick(stop);
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, seconds(1), [this] { return requested_.has_value(); });
    }
  });
}

void Migrator::tick(std::stop_token stop) {
  std::optional<Begun> begun;
  {
    const std::lock_guard lock(mutex_);
    begun.swap(requested_);
    if (!begun && busy_) return;
  }
  if (!begun && ticks_++ % ticks_between_looks == 0) {
    begun = take_over(CallContext::system("migration"));
  }
  if (begun) execute(*std::move(begun), std::move(stop));
}

void Migrator::start(CallContext call, Done<MigrationRun> done) {
  run_on<MigrationRun>(parts_.provider_threads, std::move(done),
                       [this, call = std::move(call)]() -> Result<MigrationRun> {
                         {
                           const std::lock_guard lock(mutex_);
                           if (busy_) return already_running();
                           busy_ = true;
                         }
                         auto begun = begin_run(call);
                         const std::lock_guard lock(mutex_);
                         busy_ = begun.has_value();
                         if (!begun) return std::unexpected(std::move(begun).error());
                         requested_ = *begun;
                         wake_.notify_all();
                         return std::move(begun->run);
                       });
}

Result<Migrator::Begun> Migrator::begin_run(const CallContext& call) {
  const auto to = TRY(parts_.opener.targets(call));
  auto& leases = parts_.store.coordination();
  const auto fence = leases.acquire(call, migration_lease, parts_.node, options_.lease);
  if (!fence && fence.error().code == ErrorCode::conflict) return already_running();
  if (!fence) return std::unexpected(fence.error());
  const auto now = parts_.clock.now();
  Begun begun{.run = {.state = MigrationRun::State::running,
                      .id = KeyId::generate(now).str(),
                      .node = parts_.node,
                      .started_at = now,
                      .target = to.front()},
              .fence = *fence};
  if (to.size() == 2) begun.run.second = to.back();
  begun.run.total = TRY(parts_.store.count_keys_not_wrapped_by(call, to));
  TRY(store(begun, {}));
  return begun;
}

std::optional<Migrator::Begun> Migrator::take_over(const CallContext& call) {
  const auto text = parts_.store.find_note(call, migration_note);
  if (!text || !*text) return std::nullopt;
  auto run = parse_migration_run(**text);
  if (!run || run->state != MigrationRun::State::running) return std::nullopt;
  if (run->id == others_run_) return std::nullopt;
  const auto held = parts_.store.coordination().holder(call, migration_lease);
  if (!held || *held || !is_ours(call, *run)) return std::nullopt;
  const auto fence =
      parts_.store.coordination().acquire(call, migration_lease, parts_.node, options_.lease);
  if (!fence) return std::nullopt;
  log().info("Migration goes on where {} was interrupted: {} of {} keys are moved", run->node,
             run->moved, run->total);
  run->node = parts_.node;
  run->failed = 0;
  run->failures.clear();
  return Begun{.run = *std::move(run), .fence = *fence};
}

// A daemon whose new keys go elsewhere must not finish it: it would wrap each key where it is.
bool Migrator::is_ours(const CallContext& call, const MigrationRun& run) {
  const auto to = parts_.opener.targets(call);
  if (!to) return false;  // a provider is down; asked again
  if (*to == targets_of(run)) return true;
  others_run_ = run.id;
  log().warn(
      "The migration to {} was interrupted, and new keys are wrapped by {} now: it is left as it "
      "is",
      shown(targets_of(run)), shown(*to));
  return false;
}

void Migrator::execute(Begun begun, std::stop_token stop) {
  auto& run = begun.run;
  const auto call = CallContext::system("migration-" + run.id);
  const auto targets = targets_of(run);
  log().info("Moving {} keys to {}", run.total, shown(targets));
  KeyId after;
  bool goes_on = true;
  int store_tries = 0;
  while (goes_on && !stop.stop_requested()) {
    const auto keys = parts_.store.keys_not_wrapped_by(call, targets, after, options_.batch_size);
    if (!keys) {
      goes_on = ++store_tries < store_tries_max;
      parts_.clock.sleep_for(seconds(1), stop);
      continue;
    }
    if (keys->empty()) break;
    after = keys->back().id;
    goes_on = move(begun, *keys, stop);
  }
  if (goes_on && !stop.stop_requested()) {
    run.state = MigrationRun::State::complete;
    run.finished_at = parts_.clock.now();
    log().info("Migration complete: {} keys moved, {} failed", run.moved, run.failed);
    if (const auto noted = store(begun, {}); !noted) {
      log().warn("the end of the migration was not written: {}", noted.error().message);
    }
  } else {
    log().warn("Migration interrupted after {} of {} keys; it goes on when a daemon runs again",
               run.moved, run.total);
  }
  static_cast<void>(parts_.store.coordination().release(call, migration_lease, begun.fence));
  const std::lock_guard lock(mutex_);
  busy_ = false;
}

// False when somebody else has the lease, or the store is gone.
bool Migrator::move(Begun& begun, const std::vector<KeyRecord>& keys, std::stop_token stop) {
  const auto call = CallContext::system("migration-" + begun.run.id);
  const auto targets = targets_of(begun.run);
  const auto calls = calls_a_key + (targets.size() - 1) * calls_a_second;
  std::vector<Moved> moved;
  for (const auto& key : keys) {
    if (!budget_.take(calls, stop)) break;
    auto wrappings = parts_.opener.rewrap(call, key, targets);
    if (wrappings) {
      moved.push_back({.key = key, .wrappings = *std::move(wrappings)});
    } else {
      fail_key(begun, key, wrappings.error());
    }
    const auto kept =
        parts_.store.coordination().renew(call, migration_lease, begun.fence, options_.lease);
    if (!kept && kept.error().code == ErrorCode::conflict) return false;
  }
  const auto stored = store(begun, moved);
  if (stored) return true;
  log().warn("the migration cannot go on: {}", stored.error().message);
  return false;
}

// The new forms take the place of the old ones, key by key; what another was first with is left.
Status Migrator::store(Begun& begun, const std::vector<Moved>& moved) {
  const auto call = CallContext::system("migration-" + begun.run.id);
  const change::Fence fence{.lease = std::string(migration_lease), .number = begun.fence};
  const auto targets = targets_of(begun.run);
  std::vector<Commit> commits;
  for (const auto& [key, wrappings] : moved) {
    Commit commit{fence};
    for (const auto& made : wrappings) {
      commit.emplace_back(change::AddWrapping{.key = key.id, .wrapping = made});
    }
    for (const auto& old : key.wrappings) {
      if (std::ranges::find(targets, old.master_key()) != targets.end()) continue;
      commit.emplace_back(change::RemoveWrapping{
          .key = key.id, .provider = old.provider, .master_key_id = old.master_key_id});
    }
    commits.push_back(std::move(commit));
  }
  const auto outcomes = parts_.store.commit_each(call, commits);
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    if (outcomes[i]) {
      ++begun.run.moved;
    } else if (outcomes[i].error().code == ErrorCode::store_unavailable) {
      return outcomes[i];
    } else if (outcomes[i].error().code != ErrorCode::conflict) {
      fail_key(begun, moved[i].key, outcomes[i].error());
    }
  }
  return parts_.store.commit(
      call, {fence, change::Note{.name = std::string(migration_note), .text = to_text(begun.run)}});
}

void Migrator::fail_key(Begun& begun, const KeyRecord& key, const Error& error) {
  ++begun.run.failed;
  log().warn("Migration failed for the {} key {} of tenant {}: {}: {}", to_string(key.type),
             key.id.str(), key.tenant.str(), to_string(error.code), error.message);
  if (begun.run.failures.size() >= failures_listed_max) return;
  begun.run.failures.push_back(
      {.key = key.id,
       .tenant = key.tenant.str(),
       .error = fmt::format("{}: {}", to_string(error.code), error.message)});
}

void Migrator::state(CallContext call, Done<MigrationState> done) {
  run_on<MigrationState>(parts_.store_threads, std::move(done),
                         [this, call = std::move(call)] { return state_now(call); });
}

Result<MigrationState> Migrator::state_now(const CallContext& call) {
  MigrationState state;
  for (auto& count : TRY(parts_.store.wrapping_counts(call))) {
    const bool readable = parts_.opener.knows(count.provider);
    state.holders.push_back({.count = std::move(count), .readable = readable});
  }
  const auto text = TRY(parts_.store.find_note(call, migration_note));
  if (!text) return state;
  state.run = TRY(parse_migration_run(*text));
  if (state.run.state == MigrationRun::State::running &&
      !TRY(parts_.store.coordination().holder(call, migration_lease))) {
    state.run.state = MigrationRun::State::interrupted;
  }
  return state;
}

}  // namespace betrace::kms
