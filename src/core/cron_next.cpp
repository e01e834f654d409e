// When a cron expression fires next.
#include <algorithm>

#include "core/cron.h"

namespace betrace::kms {
namespace {

using std::chrono::day;
using std::chrono::days;
using std::chrono::hours;
using std::chrono::local_days;
using std::chrono::local_seconds;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::year_month;
using std::chrono::year_month_day;

// The first allowed value from `from` on; the size when there is none.
template <std::size_t Size>
std::size_t first_from(const std::bitset<Size>& allowed, std::size_t from) {
  while (from < Size && !allowed.test(from)) ++from;
  return from;
}

unsigned last_day_of(year_month month) {
  return static_cast<unsigned>((month / std::chrono::last).day());
}

// Sunday is 1, as Quartz counts.
unsigned weekday_of(year_month month, unsigned day_of_month) {
  const local_days date(month / day(day_of_month));
  return std::chrono::weekday(date).c_encoding() + 1;
}

// Monday to Friday, in the same month.
unsigned nearest_weekday(year_month month, unsigned day_of_month) {
  const auto weekday = weekday_of(month, day_of_month);
  if (weekday == 7) return day_of_month == 1 ? 3 : day_of_month - 1;
  if (weekday == 1) return day_of_month == last_day_of(month) ? day_of_month - 2 : day_of_month + 1;
  return day_of_month;
}

}  // namespace

std::bitset<32> CronExpression::days_of(year_month month) const {
  const auto last = last_day_of(month);
  std::bitset<32> days;
  if (!fields_.by_weekday) {
    if (fields_.last_day) {
      if (static_cast<unsigned>(fields_.offset) < last) {
        days.set(last - static_cast<unsigned>(fields_.offset));
      }
    } else {
      days = fields_.days_of_month;
    }
    for (auto beyond = last + 1; beyond < days.size(); ++beyond) days.reset(beyond);
    if (!fields_.nearest_weekday || days.none()) return days;
    const auto wanted = static_cast<unsigned>(first_from(days, 1));
    return std::bitset<32>().set(nearest_weekday(month, wanted));
  }
  for (unsigned each = 1; each <= last; ++each) {
    const bool in_place =
        fields_.nth_weekday == 0 || static_cast<int>((each - 1) / 7 + 1) == fields_.nth_weekday;
    const bool last_week = !fields_.last_weekday_of_month || each + 7 > last;
    days.set(each, fields_.days_of_week.test(weekday_of(month, each)) && in_place && last_week);
  }
  return days;
}

std::optional<local_seconds> CronExpression::next_local(local_seconds from) const {
  const auto today = std::chrono::floor<days>(from);
  const year_month_day date(today);
  const std::chrono::hh_mm_ss time(from - today);
  year_month month(date.year(), date.month());
  auto first_day = static_cast<unsigned>(date.day());
  auto hour = static_cast<std::size_t>(time.hours().count());
  auto minute = static_cast<std::size_t>(time.minutes().count());
  auto second = static_cast<std::size_t>(time.seconds().count());
  // The time of day is good for the first day looked at; a later one begins at midnight.
  const auto time_of_day = [&]() -> std::optional<seconds> {
    for (auto h = first_from(fields_.hours, hour); h < 24; h = first_from(fields_.hours, h + 1)) {
      if (h > hour) minute = second = 0;
      for (auto m = first_from(fields_.minutes, minute); m < 60;
           m = first_from(fields_.minutes, m + 1)) {
        const auto s = first_from(fields_.seconds, m > minute ? 0 : second);
        if (s < 60) return hours(h) + minutes(m) + seconds(s);
      }
      minute = second = 0;
    }
    return std::nullopt;
  };
  for (; static_cast<int>(month.year()) <= year_max; month += std::chrono::months(1)) {
    const int year = static_cast<int>(month.year());
    const bool wanted = year >= year_min &&
                        fields_.years.test(static_cast<std::size_t>(year - year_min)) &&
                        fields_.months.test(static_cast<unsigned>(month.month()));
    const auto allowed = wanted ? days_of(month) : std::bitset<32>();
    for (auto each = first_from(allowed, first_day); each < allowed.size();
         each = first_from(allowed, each + 1)) {
      const local_days candidate(month / day(static_cast<unsigned>(each)));
      if (candidate > today) hour = minute = second = 0;
      if (const auto found = time_of_day()) return candidate + *found;
    }
    first_day = 1;
  }
  return std::nullopt;
}

std::optional<SystemTime> CronExpression::next_after(SystemTime after, const TimeZone& zone) const {
  const auto floor = std::chrono::floor<seconds>(after);
  auto from = zone.to_local(floor + seconds(1));
  while (const auto found = next_local(from)) {
    // A time that does not exist on that day is left out; one that comes twice is the second.
    const auto time = zone.to_system(*found);
    if (time && *time > floor) return SystemTime(*time);
    from = *found + seconds(1);
  }
  return std::nullopt;
}

}  // namespace betrace::kms
