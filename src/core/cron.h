// Quartz' cron expressions: six or seven fields (seconds, minutes, hours, day of month, month, day
// of week, year), as org.quartz.CronExpression of Quartz 2.3.2 reads them. docs/cron.md has the
// grammar for users and lists every difference.
#pragma once

#include <bitset>
#include <chrono>
#include <optional>
#include <string_view>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"

#include "core/time_zone.h"

namespace betrace::kms {

// "off" or "disabled": Quarkus' words for never.
bool is_cron_off(std::string_view text);

class CronExpression {
 public:
  // Errors: invalid_argument; one line that names the field, its text and what would be accepted.
  static Result<CronExpression> parse(std::string_view text);

  // The first time after `after`, on a whole second; nothing when there is none before 2300.
  std::optional<SystemTime> next_after(SystemTime after, const TimeZone& zone) const;

  static constexpr int year_min = 1970, year_max = 2299;

  // What a field allows, by its value; day of week 1 is Sunday.
  struct Fields {
    std::bitset<60> seconds, minutes;
    std::bitset<24> hours;
    std::bitset<32> days_of_month;
    std::bitset<13> months;
    std::bitset<8> days_of_week;
    std::bitset<year_max - year_min + 1> years;
    bool by_weekday = false;  // else by day of month
    bool last_day = false;    // L, L-3: `offset` days before the last
    bool nearest_weekday = false;
    int offset = 0;
    bool last_weekday_of_month = false;  // 6L
    int nth_weekday = 0;                 // 6#3
  };

 private:
  explicit CronExpression(const Fields& fields) : fields_(fields) {}
  std::bitset<32> days_of(std::chrono::year_month month) const;
  std::optional<std::chrono::local_seconds> next_local(std::chrono::local_seconds from) const;

  Fields fields_;
};

}  // namespace betrace::kms
