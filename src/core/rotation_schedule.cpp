#include "core/rotation_schedule.h"

#include <algorithm>

#include "base/json.h"
#include "base/json_note.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

constexpr std::string_view note_name = "schedule/keyRotationCheck";

}  // namespace

RotationSchedule::RotationSchedule(KeyStore& store, const Clock& clock, Options options,
                                   std::optional<CronExpression> cron, TimeZone zone)
    : store_(store),
      clock_(clock),
      options_(std::move(options)),
      cron_(std::move(cron)),
      zone_(std::move(zone)) {}

Result<std::unique_ptr<RotationSchedule>> RotationSchedule::make(KeyStore& store,
                                                                 const Clock& clock,
                                                                 Options options) {
  auto zone = TRY(TimeZone::find(options.time_zone));
  std::optional<CronExpression> cron;
  if (!is_cron_off(options.cron)) cron = TRY(CronExpression::parse(options.cron));
  if (!options.enabled) cron.reset();
  return std::unique_ptr<RotationSchedule>(
      new RotationSchedule(store, clock, std::move(options), std::move(cron), std::move(zone)));
}

Status RotationSchedule::read(const CallContext& call) {
  const auto now = clock_.now();
  const auto text = TRY(store_.find_note(call, note_name));
  SystemTime since = now;
  std::optional<SystemTime> last;
  if (text) {
    JsonDocument document;
    if (document.parse(*text)) {
      since = time_of(document.root(), "since");
      if (const auto at = time_of(document.root(), "last"); at != SystemTime()) last = at;
    }
  } else {
    TRY(store_.commit(call, {change::Note{.name = std::string(note_name),
                                          .text = JsonNote().time("since", now).str()}}));
  }
  since_ = since;
  known_ = true;
  {
    const std::lock_guard lock(mutex_);
    last_ = last;
  }
  look_ahead(now);
  return {};
}

// A clock that was put back must not make the next time wait for what it once showed.
void RotationSchedule::look_ahead(SystemTime now) {
  const std::lock_guard lock(mutex_);
  const auto base = std::min(now, last_.value_or(since_));
  next_ = cron_ ? cron_->next_after(base, zone_) : std::nullopt;
}

Result<bool> RotationSchedule::is_due(const CallContext& call) {
  if (!cron_) return false;
  const auto now = clock_.now();
  if (!known_) TRY(read(call));
  if (now < looked_at_) look_ahead(now);
  looked_at_ = now;
  const auto next = state().next_execution;
  if (!next || now < *next) return false;
  // Another daemon may have been first.
  TRY(read(call));
  const auto still = state().next_execution;
  return still && now >= *still;
}

Status RotationSchedule::begun(const CallContext& call) {
  const auto now = clock_.now();
  {
    const std::lock_guard lock(mutex_);
    last_ = now;
  }
  look_ahead(now);
  return store_.commit(
      call, {change::Note{.name = std::string(note_name),
                          .text = JsonNote().time("since", since_).time("last", now).str()}});
}

std::optional<SystemTime> RotationSchedule::time_after(SystemTime now) const {
  return cron_ ? cron_->next_after(now, zone_) : std::nullopt;
}

ScheduleState RotationSchedule::state() const {
  const std::lock_guard lock(mutex_);
  return {.enabled = cron_.has_value(),
          .cron = options_.cron,
          .last_execution = last_,
          .next_execution = next_};
}

}  // namespace betrace::kms
