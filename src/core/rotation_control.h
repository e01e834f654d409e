// Runs rotation: by its schedule, by request, and where another daemon was interrupted. A thread of
// its own does the work; the lease in the store keeps it to one daemon at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "betrace/kms/rotation.h"

#include "core/rotation_runner.h"
#include "core/rotation_schedule.h"

namespace betrace::kms {

class Rotation final : public RotationControl {
 public:
  Rotation(RotationParts parts, RotationOptions options,
           std::unique_ptr<RotationSchedule> schedule);
  // Stops a run between two tenants.
  ~Rotation() override;
  void begin();  // its thread
  // What the thread does about once a second; blocks while a run goes on.
  void tick(std::stop_token stop);

  void start(CallContext call, RotationRequest request, Done<RotationRun> done) override;
  void status(CallContext call, Done<RotationRun> done) override;
  void due(CallContext call, AgePlace after, std::size_t limit,
           Done<std::vector<DueKey>> done) override;
  void report(CallContext call, SystemTime from, SystemTime to, Done<RotationReport> done) override;
  ScheduleState schedule() const override { return schedule_->state(); }
  std::chrono::days max_age() const override { return options_.max_age; }

  // Destroys the private halves of signing keys that were rotated long enough ago. Blocks.
  Status destroy_old_seeds();

 private:
  struct Begun {
    RotationRun run;
    std::uint64_t fence = 0;
    std::optional<std::chrono::milliseconds> stagger;
  };
  // Keys made before it are due.
  SystemTime cutoff(const RotationRequest& request, SystemTime now) const;
  Result<Begun> begin_run(const CallContext& call, const RotationRequest& request);
  Result<std::optional<Begun>> take_over(const CallContext& call);
  void execute(Begun begun, std::stop_token stop);
  Result<RotationRun> status_now(const CallContext& call);
  Result<RotationReport> report_now(const CallContext& call, SystemTime from, SystemTime to);
  void publish(const RotationRun& run);

  const RotationParts parts_;
  const RotationOptions options_;
  const std::unique_ptr<RotationSchedule> schedule_;
  std::atomic<bool> busy_{false};  // a run of this daemon is being begun or done

  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::optional<Begun> requested_;
  std::optional<RotationRun> own_run_;  // while busy
  int ticks_ = 0;
  std::jthread thread_;
};

}  // namespace betrace::kms
