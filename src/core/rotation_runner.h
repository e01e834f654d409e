// One run of rotation, from the first due tenant to the last. It holds the lease of the store under
// a fencing number, which every commit of it names: a runner that was asleep and has lost the lease
// can do nothing more.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <unordered_set>
#include <vector>

#include "betrace/kms/clock.h"
#include "betrace/kms/key_store.h"
#include "betrace/kms/rotation.h"

#include "base/executor.h"
#include "core/call_budget.h"
#include "core/key_service_impl.h"
#include "core/pace.h"
#include "telemetry/metrics.h"

namespace betrace::kms {

// All of them must outlive it.
struct RotationParts {
  KeyStore& store;
  KeyServiceImpl& keys;
  Executor& store_threads;
  Executor& provider_threads;
  const Clock& clock;
  Metrics& metrics;
  std::string node;
};

struct RotationOptions {
  std::chrono::days max_age{90};
  std::size_t batch_size = 100;
  std::chrono::milliseconds stagger{0};
  std::size_t parallel = 1;
  std::uint64_t calls_per_second = 0;
  std::chrono::days keep_seeds{7};
  std::chrono::milliseconds lease{std::chrono::seconds(30)};
};

class RotationRunner {
 public:
  // `publish` is given the run as it stands, now and then, while it goes on.
  using Publish = std::function<void(const RotationRun&)>;
  RotationRunner(const RotationParts& parts, const RotationOptions& options, RotationRun run,
                 std::uint64_t fence, Publish publish);

  // Ends when every due tenant was reached, the lease is lost, or `stop` is requested; answers the
  // run as it is then, `running` when somebody else should go on with it.
  RotationRun work(std::stop_token stop);

 private:
  struct Attempt {
    TenantId tenant;
    Result<TenantRotation> made;
    std::chrono::nanoseconds worked{};  // of a processor's time
  };
  // Attempts on their way into the store, while the next ones are prepared.
  struct Flight {
    std::vector<Attempt> attempts;
    std::vector<Commit> commits;  // of those that made keys, in their order, and the run's note
    std::vector<Status> outcomes;
    std::chrono::nanoseconds took{};
    std::latch landed{1};
  };
  enum class Walk : std::uint8_t { old_keys, keys_of_the_future };

  bool is_due(const KeyRecord& key) const;
  bool goes_on() const { return !lost_ && !stop_.stop_requested(); }
  void walk(Walk what);
  void rotate(const std::vector<TenantId>& tenants);
  std::vector<Attempt> prepare(std::span<const TenantId> tenants);
  void send();
  void land();
  void flush();
  void pause(std::chrono::milliseconds time);
  void settle(const Attempt& attempt, const Status& outcome);
  void fail_tenant(const TenantId& tenant, const Error& error);
  void retry();
  void keep_lease();
  change::Fence fence() const;
  change::Note note(const RotationRun& run) const;

  const RotationParts& parts_;
  const RotationOptions& options_;
  const CallContext call_;
  const std::uint64_t fence_;
  const Publish publish_;
  const SystemTime future_;  // keys made after it were made by a clock that was wrong
  RotationRun run_;
  CallBudget budget_;
  Pace pace_;
  std::stop_token stop_;
  bool lost_ = false;
  bool last_chance_ = false;
  std::unordered_set<std::string> seen_;
  std::vector<Attempt> pending_;
  std::unique_ptr<Flight> flight_;
  std::vector<TenantId> again_;  // failed by an outage, or overtaken
  std::chrono::steady_clock::time_point flushed_at_, lease_kept_at_;
};

}  // namespace betrace::kms
