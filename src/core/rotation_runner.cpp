#include "core/rotation_runner.h"

#include <algorithm>
#include <latch>
#include <utility>

#include <fmt/format.h>

#include "base/time_slice.h"
#include "base/try.h"
#include "core/rotation_note.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t failures_listed_max = 1000;
constexpr milliseconds flush_interval{200};
constexpr milliseconds slice{500};  // of a long pause, between two looks at the lease
constexpr std::uint64_t calls_a_tenant = 3;
// When what an outage has failed is tried again; after the last one it waits for the next run.
constexpr seconds pauses[] = {seconds(5), seconds(30)};
constexpr int reads_max = 60;

spdlog::logger& log() {
  static auto& instance = logger(log_category::rotation);
  return instance;
}

bool is_worth_another_try(ErrorCode code) {
  return is_outage(code) || code == ErrorCode::conflict || code == ErrorCode::overloaded ||
         code == ErrorCode::store_unavailable;
}

bool is_gone(ErrorCode code) {
  return code == ErrorCode::destroyed || code == ErrorCode::tenant_not_found;
}

void count(const TenantRotation& rotated, RotationRun& run) {
  ++run.rotated_tenants;
  for (const auto& [old_key, new_key] : rotated.keys) {
    ++(new_key.type == KeyType::signing ? run.signing_keys : run.encryption_keys);
  }
}

double uses_of_keys(const Metrics& metrics) {
  return metrics.signatures.Value() + metrics.encryptions.Value() +
         metrics.verifications_valid.Value() + metrics.decryptions_success.Value();
}

}  // namespace

RotationRunner::RotationRunner(const RotationParts& parts, const RotationOptions& options,
                               RotationRun run, std::uint64_t fence, Publish publish)
    : parts_(parts),
      options_(options),
      call_(CallContext::system("rotation-" + run.id)),
      fence_(fence),
      publish_(std::move(publish)),
      future_(parts.clock.now() + std::chrono::days(1)),
      run_(std::move(run)),
      budget_(parts.clock, options.calls_per_second),
      pace_(parts.clock, [&metrics = parts.metrics] { return uses_of_keys(metrics); }),
      flushed_at_(parts.clock.steady_now()),
      lease_kept_at_(flushed_at_) {}

change::Fence RotationRunner::fence() const {
  return {.lease = std::string(rotation_lease), .number = fence_};
}

change::Note RotationRunner::note(const RotationRun& run) const {
  return {.name = std::string(latest_rotation_note), .text = to_text(run)};
}

RotationRun RotationRunner::work(std::stop_token stop) {
  stop_ = std::move(stop);
  const auto begun = parts_.clock.steady_now();
  log().info("Starting automated key rotation (age threshold: {} days)",
             run_.force ? 0 : options_.max_age.count());
  walk(Walk::old_keys);
  walk(Walk::keys_of_the_future);
  retry();
  flush();
  if (!goes_on()) {
    log().warn("Key rotation interrupted after {} of {} tenants; it goes on {}",
               run_.rotated_tenants, run_.total_tenants,
               lost_ ? "in another daemon, which has the lease" : "when a daemon runs again");
    return run_;
  }
  run_.state = RotationRun::State::complete;
  run_.finished_at = parts_.clock.now();
  run_.total_tenants = run_.rotated_tenants + run_.failed_tenants;
  const auto kept = parts_.store.commit(
      call_,
      {fence(), note(run_),
       change::Note{.name = std::string(rotation_run_prefix) + run_.id, .text = to_text(run_)}});
  if (!kept) log().warn("the end of the run was not written: {}", kept.error().message);
  const auto took = parts_.clock.steady_now() - begun;
  parts_.metrics.rotation_duration.Observe(std::chrono::duration<double>(took).count());
  log().info("Key rotation complete: {} signing keys rotated, {} encryption keys rotated ({}ms)",
             run_.signing_keys, run_.encryption_keys,
             std::chrono::duration_cast<milliseconds>(took).count());
  if (run_.failed_tenants > 0) {
    log().warn("Key rotation failed for {} tenants; they are tried again at the next run",
               run_.failed_tenants);
  }
  return run_;
}

bool RotationRunner::is_due(const KeyRecord& key) const {
  return key.created_at < run_.cutoff || key.created_at > future_;
}

// Every tenant with a key in the listing, once in a run, however many there are.
void RotationRunner::walk(Walk what) {
  const bool old = what == Walk::old_keys;
  AgePlace place;
  if (!old) place.created_at = future_;
  int failed_reads = 0;
  while (goes_on()) {
    const auto page = parts_.store.keys_created_before(call_, old ? run_.cutoff : SystemTime::max(),
                                                       place, options_.batch_size * 2);
    if (!page) {
      if (++failed_reads == 1) log().warn("rotation waits for the store: {}", page.error().message);
      lost_ = failed_reads == reads_max;
      parts_.clock.sleep_for(seconds(1), stop_);
      keep_lease();
      continue;
    }
    failed_reads = 0;
    if (page->empty()) return;
    std::vector<TenantId> tenants;
    for (const auto& key : *page) {
      if (is_due(key) && seen_.insert(key.tenant.str()).second) tenants.push_back(key.tenant);
    }
    rotate(tenants);
    const auto& last = page->back();
    place = {.created_at = last.created_at, .tenant = last.tenant.str(), .type = last.type};
  }
}

void RotationRunner::rotate(const std::vector<TenantId>& tenants) {
  const std::span all(tenants);
  const auto width = std::max<std::size_t>(1, options_.parallel);
  for (std::size_t at = 0; at < all.size() && goes_on(); at += width) {
    const auto some = all.subspan(at, std::min(width, all.size() - at));
    if (!budget_.take(calls_a_tenant * some.size(), stop_)) return;
    std::ranges::move(prepare(some), std::back_inserter(pending_));
    const bool waited = parts_.clock.steady_now() - flushed_at_ >= flush_interval;
    if (waited || pending_.size() >= options_.batch_size) {
      send();
      pause(pace_.pause());
    }
    keep_lease();
    pause(options_.stagger * static_cast<int>(some.size()));
  }
}

void RotationRunner::pause(milliseconds time) {
  if (time > flush_interval) flush();
  for (auto left = time; left > left.zero() && goes_on(); left -= slice) {
    parts_.clock.sleep_for(std::min(left, slice), stop_);
    keep_lease();
  }
}

std::vector<RotationRunner::Attempt> RotationRunner::prepare(std::span<const TenantId> tenants) {
  std::vector<Attempt> attempts;
  for (const auto& tenant : tenants) {
    log().debug("Rotating tenant keys for tenant {}", tenant.str());
    attempts.push_back({.tenant = tenant, .made = TenantRotation{.tenant = tenant, .keys = {}}});
  }
  const auto make = [this](Attempt& attempt) {
    const auto before = thread_processor_time();
    attempt.made = parts_.keys.prepare_rotation(
        call_, attempt.tenant, [this](const KeyRecord& key) { return is_due(key); });
    attempt.worked = thread_processor_time() - before;
  };
  std::latch others(std::ssize(attempts) - 1);
  for (auto& attempt : std::span(attempts).subspan(1)) {
    const bool posted = parts_.provider_threads.post([&] {
      make(attempt);
      others.count_down();
    });
    if (posted) continue;
    make(attempt);
    others.count_down();
  }
  make(attempts.front());
  others.wait();
  for (const auto& attempt : attempts) pace_.worked(attempt.worked);
  let_others_run();
  return attempts;
}

// Stores what was prepared, together, and how far the run is when all of it is stored; on a thread
// of the store, so that disk and provider do not wait for each other.
void RotationRunner::send() {
  land();
  flushed_at_ = parts_.clock.steady_now();
  if (pending_.empty() || lost_) return;
  flight_ = std::make_unique<Flight>();
  for (auto& attempt : std::exchange(pending_, {})) {
    if (!attempt.made || attempt.made->keys.empty()) {
      settle(attempt, attempt.made ? Status{} : Status(std::unexpected(attempt.made.error())));
      continue;
    }
    auto commit = attempt.made->commit();
    commit.insert(commit.begin(), fence());
    flight_->commits.push_back(std::move(commit));
    flight_->attempts.push_back(std::move(attempt));
  }
  auto expected = run_;
  for (const auto& attempt : flight_->attempts) count(*attempt.made, expected);
  flight_->commits.push_back({fence(), note(expected)});
  const auto store = [this, flight = flight_.get()] {
    const auto begun = parts_.clock.steady_now();
    flight->outcomes = parts_.store.commit_each(call_, flight->commits);
    flight->took = parts_.clock.steady_now() - begun;
    flight->landed.count_down();
  };
  if (!parts_.store_threads.post(store)) store();
}

// Waits for what was sent, and learns what became of it.
void RotationRunner::land() {
  if (!flight_) return;
  flight_->landed.wait();
  const auto flight = std::move(flight_);
  pace_.worked(flight->took);
  const auto& outcomes = flight->outcomes;
  const bool refused = std::ranges::any_of(outcomes, [](const Status& each) {
    return !each && each.error().code == ErrorCode::conflict;
  });
  if (refused) {
    lease_kept_at_ = {};
    keep_lease();
  }
  for (std::size_t i = 0; i < flight->attempts.size(); ++i) {
    if (outcomes[i] || !lost_) settle(flight->attempts[i], outcomes[i]);
  }
  if (lost_) return;
  if (!std::ranges::all_of(outcomes, &Status::has_value)) {
    // The note counts what was not stored.
    const auto noted = parts_.store.commit(call_, {fence(), note(run_)});
    if (!noted) log().debug("the run's progress was not written: {}", noted.error().message);
  }
  publish_(run_);
}

void RotationRunner::flush() {
  send();
  land();
}

void RotationRunner::settle(const Attempt& attempt, const Status& outcome) {
  if (outcome) {
    count(*attempt.made, run_);
    // Somebody else may have rotated it since it was listed.
    if (!attempt.made->keys.empty()) parts_.keys.finish_rotation(*attempt.made);
    return;
  }
  const auto& error = outcome.error();
  if (is_gone(error.code)) return;
  if (is_worth_another_try(error.code) && !last_chance_) {
    again_.push_back(attempt.tenant);
    return;
  }
  fail_tenant(attempt.tenant, error);
}

void RotationRunner::fail_tenant(const TenantId& tenant, const Error& error) {
  ++run_.failed_tenants;
  parts_.metrics.rotation_failures.Increment();
  log().warn("Rotation failed for tenant {}: {}: {}", tenant.str(), to_string(error.code),
             error.message);
  if (run_.failures.size() >= failures_listed_max) return;
  run_.failures.push_back({.tenant = tenant.str(),
                           .error = fmt::format("{}: {}", to_string(error.code), error.message),
                           .at = parts_.clock.now()});
}

void RotationRunner::retry() {
  flush();
  for (const auto time : pauses) {
    if (again_.empty()) return;
    log().info("Rotation of {} tenants is tried again in {}s", again_.size(), time.count());
    pause(time);
    last_chance_ = time == std::ranges::end(pauses)[-1];
    rotate(std::exchange(again_, {}));
    flush();
  }
}

void RotationRunner::keep_lease() {
  const auto now = parts_.clock.steady_now();
  if (lost_ || now - lease_kept_at_ < options_.lease / 3) return;
  const auto kept =
      parts_.store.coordination().renew(call_, rotation_lease, fence_, options_.lease);
  if (kept) {
    lease_kept_at_ = now;
    return;
  }
  lost_ = kept.error().code == ErrorCode::conflict;
  if (!lost_) log().debug("the lease was not renewed: {}", kept.error().message);
}

}  // namespace betrace::kms
