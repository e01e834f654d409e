// When rotation is due: the times of a cron expression, and what became of them, kept in the store
// so that a time that passed while nobody ran is not forgotten. Not synchronised but for state().
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "betrace/kms/clock.h"
#include "betrace/kms/key_store.h"
#include "betrace/kms/rotation.h"

#include "core/cron.h"

namespace betrace::kms {

class RotationSchedule {
 public:
  struct Options {
    bool enabled = true;
    std::string cron;  // as configured, "off" included
    std::string time_zone = "UTC";
  };
  // `store` and `clock` must outlive it. Errors: invalid_argument.
  static Result<std::unique_ptr<RotationSchedule>> make(KeyStore& store, const Clock& clock,
                                                        Options options);

  // Whether a time has come that no daemon on the store has begun yet; to be asked about once a
  // second. Errors: the store's.
  Result<bool> is_due(const CallContext& call);
  // It was begun, or is as good as that: what came until now has been seen to.
  Status begun(const CallContext& call);

  ScheduleState state() const;
  // The first scheduled time after `now`; none when there is no schedule.
  std::optional<SystemTime> time_after(SystemTime now) const;

 private:
  RotationSchedule(KeyStore& store, const Clock& clock, Options options,
                   std::optional<CronExpression> cron, TimeZone zone);
  Status read(const CallContext& call);
  void look_ahead(SystemTime now);

  KeyStore& store_;
  const Clock& clock_;
  const Options options_;
  const std::optional<CronExpression> cron_;  // none: never
  const TimeZone zone_;
  bool known_ = false;  // since_ and last_ are the store's
  SystemTime since_;    // when the schedule was first looked at
  SystemTime looked_at_ = SystemTime::min();
  mutable std::mutex mutex_;  // of the two below
  std::optional<SystemTime> last_, next_;
};

}  // namespace betrace::kms
