#include "api/time_fields.h"

#include <charconv>
#include <optional>

#include <fmt/format.h>

namespace betrace::kms {
namespace {

using std::chrono::seconds;

// Reads from the front of a text; a false answer leaves it somewhere inside.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : left_(text) {}

  bool at_end() const { return left_.empty(); }
  bool is_digit() const { return !left_.empty() && left_[0] >= '0' && left_[0] <= '9'; }
  bool take(std::string_view any_of) {
    if (left_.empty() || any_of.find(left_[0]) == std::string_view::npos) return false;
    taken_ = left_[0];
    left_.remove_prefix(1);
    return true;
  }
  char taken() const { return taken_; }
  // Exactly so many digits.
  bool digits(std::size_t count, int& value) {
    if (left_.size() < count) return false;
    value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (!is_digit()) return false;
      value = value * 10 + (left_[0] - '0');
      left_.remove_prefix(1);
    }
    return true;
  }
  // One digit or more.
  bool number(std::int64_t& value) {
    if (!is_digit()) return false;
    const auto [stopped, error] = std::from_chars(left_.data(), left_.data() + left_.size(), value);
    left_.remove_prefix(static_cast<std::size_t>(stopped - left_.data()));
    return error == std::errc();
  }

 private:
  std::string_view left_;
  char taken_ = 0;
};

// ".25" → 250 ms; what is finer is cut off.
bool read_fraction(Scanner& in, std::chrono::milliseconds& fraction) {
  fraction = {};
  if (!in.take(".")) return true;
  if (!in.is_digit()) return false;
  for (int unit = 100; in.take("0123456789"); unit /= 10) {
    fraction += std::chrono::milliseconds((in.taken() - '0') * unit);
  }
  return true;
}

bool read_offset(Scanner& in, std::chrono::minutes& offset) {
  offset = {};
  if (in.take("Zz")) return true;
  if (!in.take("+-")) return false;
  const int sign = in.taken() == '-' ? -1 : 1;
  int hours = 0;
  int minutes = 0;
  if (!in.digits(2, hours) || !in.take(":") || !in.digits(2, minutes)) return false;
  if (hours > 23 || minutes > 59) return false;
  offset = sign * (std::chrono::hours(hours) + std::chrono::minutes(minutes));
  return true;
}

std::optional<Moment> read_moment(std::string_view text) {
  Scanner in(text);
  int year = 0;
  int month = 0;
  int day = 0;
  if (!in.digits(4, year) || !in.take("-") || !in.digits(2, month) || !in.take("-") ||
      !in.digits(2, day)) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date(std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day)));
  if (!date.ok() || year < 1970) return std::nullopt;
  const SystemTime midnight = std::chrono::sys_days(date);
  if (in.at_end()) return Moment{.at = midnight, .is_whole_day = true};
  int hour = 0;
  int minute = 0;
  int second = 0;
  std::chrono::milliseconds fraction;
  std::chrono::minutes offset;
  const bool read = in.take("Tt ") && in.digits(2, hour) && in.take(":") && in.digits(2, minute) &&
                    in.take(":") && in.digits(2, second) && read_fraction(in, fraction) &&
                    read_offset(in, offset) && in.at_end();
  // 60 is a leap second.
  if (!read || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  return Moment{.at = midnight + std::chrono::hours(hour) + std::chrono::minutes(minute) +
                      std::chrono::seconds(second) + fraction - offset};
}

constexpr seconds duration_max = std::chrono::days(366);

// Adds `number` units unless that is longer than anything we take.
bool add(std::int64_t number, seconds unit, seconds& sum) {
  if (number > duration_max / unit) return false;
  sum += number * unit;
  return sum <= duration_max;
}

seconds unit_of(char letter, bool in_time) {
  switch (letter) {
    case 'd':
    case 'D':
      return std::chrono::days(1);
    case 'h':
    case 'H':
      return std::chrono::hours(1);
    case 'm':
      return std::chrono::minutes(1);
    case 'M':
      return in_time ? seconds(std::chrono::minutes(1)) : seconds();
    default:
      return seconds(1);
  }
}

// After "P": days, then after "T" hours, minutes and seconds, each at most once, in this order.
std::optional<seconds> read_iso_duration(Scanner in) {
  seconds sum{};
  bool any = false;
  std::string_view units = "D";
  bool in_time = false;
  while (!in.at_end()) {
    if (!in_time && in.take("T")) {
      units = "HMS";
      in_time = true;
      any = false;
      continue;
    }
    std::int64_t number = 0;
    if (!in.number(number) || !in.take(units) || !add(number, unit_of(in.taken(), in_time), sum)) {
      return std::nullopt;
    }
    units.remove_prefix(units.find(in.taken()) + 1);
    any = true;
  }
  if (!any) return std::nullopt;
  return sum;
}

std::optional<seconds> read_duration(std::string_view text) {
  Scanner in(text);
  if (in.take("P")) return read_iso_duration(in);
  std::int64_t number = 0;
  seconds sum{};
  if (!in.number(number) || !in.take("smhd") || !in.at_end() ||
      !add(number, unit_of(in.taken(), true), sum)) {
    return std::nullopt;
  }
  return sum;
}

}  // namespace

Result<Moment> parse_moment(std::string_view name, std::string_view text) {
  if (const auto moment = read_moment(text)) return *moment;
  return fail(ErrorCode::invalid_argument,
              fmt::format("'{}' is '{}'; it is a date like 2025-10-01 or a time like "
                          "2025-10-01T12:00:00Z (RFC 3339), from 1970 on",
                          name, text.substr(0, 40)));
}

Result<seconds> parse_duration(std::string_view name, std::string_view text) {
  if (const auto duration = read_duration(text)) return *duration;
  return fail(ErrorCode::invalid_argument,
              fmt::format("'{}' is '{}'; it is a number and s, m, h or d, like 1h, or ISO 8601, "
                          "like PT1H30M, and at most 366 days",
                          name, text.substr(0, 40)));
}

}  // namespace betrace::kms
