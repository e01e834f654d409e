// Reading a cron expression.
#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/try.h"
#include "core/cron.h"

namespace betrace::kms {
namespace {

struct Name {
  std::string_view text;
  int value;
};
constexpr std::array<Name, 12> month_names{{{"JAN", 1},
                                            {"FEB", 2},
                                            {"MAR", 3},
                                            {"APR", 4},
                                            {"MAY", 5},
                                            {"JUN", 6},
                                            {"JUL", 7},
                                            {"AUG", 8},
                                            {"SEP", 9},
                                            {"OCT", 10},
                                            {"NOV", 11},
                                            {"DEC", 12}}};
constexpr std::array<Name, 7> day_names{
    {{"SUN", 1}, {"MON", 2}, {"TUE", 3}, {"WED", 4}, {"THU", 5}, {"FRI", 6}, {"SAT", 7}}};

struct Field {
  std::string_view name;
  int min, max;
  std::span<const Name> names = {};
  std::string_view accepted = {};
};
constexpr Field second_field{"seconds", 0, 59, {}, "0-59 and * , - /"};
constexpr Field minute_field{"minutes", 0, 59, {}, "0-59 and * , - /"};
constexpr Field hour_field{"hours", 0, 23, {}, "0-23 and * , - /"};
constexpr Field day_field{"day-of-month", 1, 31, {}, "1-31, * , - / ?, L, L-3, LW and 15W"};
constexpr Field month_field{"month", 1, 12, month_names, "1-12, JAN-DEC and * , - /"};
constexpr Field weekday_field{"day-of-week", 1, 7, day_names,
                              "1-7, SUN-SAT, * , - / ?, L, 6L and 6#3"};
constexpr Field year_field{
    "year", CronExpression::year_min, CronExpression::year_max, {}, "1970-2299 and * , - /"};

std::unexpected<Error> refuse(const Field& field, std::string_view text, std::string_view why) {
  return fail(ErrorCode::invalid_argument,
              fmt::format("{} '{}': {}; accepted are {}", field.name, text, why, field.accepted));
}

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  while (true) {
    const auto end = std::min(text.find_first_of(separators), text.size());
    parts.push_back(text.substr(0, end));
    if (end == text.size()) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<int> digits(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && text.front() != '-' ? std::optional(number) : std::nullopt;
}

Result<int> value(const Field& field, std::string_view whole, std::string_view text) {
  const auto name = std::ranges::find(field.names, text, &Name::text);
  if (name != field.names.end()) return name->value;
  const auto number = text.empty() ? std::nullopt : digits(text);
  if (!number) return refuse(field, whole, fmt::format("'{}' is no value of it", text));
  if (*number < field.min || *number > field.max) {
    return refuse(field, whole,
                  fmt::format("{} is not from {} to {}", *number, field.min, field.max));
  }
  return *number;
}

struct Range {
  int first = 0, last = 0, step = 1;
};

// "*", "5", "5-9", "5/15", "/15", "5-9/2".
Result<Range> range(const Field& field, std::string_view whole, std::string_view text) {
  Range made{.first = field.min, .last = field.max};
  const auto slash = text.find('/');
  const auto body = text.substr(0, slash);
  const bool stepped = slash != std::string_view::npos;
  if (stepped) {
    const auto after = text.substr(slash + 1);
    const auto step = after.empty() ? std::nullopt : digits(after);
    // Quartz: as many as the field has values, at most.
    const int most = field.max > 1000 ? field.max - field.min : field.max;
    if (!step || *step < 1 || *step > most) {
      return refuse(field, whole, fmt::format("the step after / is not from 1 to {}", most));
    }
    made.step = *step;
  }
  if (body == "*" || (body.empty() && stepped)) return made;
  const auto dash = body.find('-');
  made.first = TRY(value(field, whole, body.substr(0, dash)));
  if (dash != std::string_view::npos) {
    made.last = TRY(value(field, whole, body.substr(dash + 1)));
    const auto is_number = [](std::string_view text) { return text.front() <= '9'; };
    if (is_number(body) != is_number(body.substr(dash + 1))) {
      return refuse(field, whole, "a range is of names or of numbers");
    }
  } else if (!stepped) {
    made.last = made.first;
  }
  return made;
}

// Ranges that run backwards go round the end: FRI-MON, 22-2.
template <std::size_t Size>
Status add(const Field& field, std::string_view text, int origin, std::bitset<Size>& allowed) {
  for (const auto part : split(text, ",")) {
    const auto [first, last, step] = TRY(range(field, text, part));
    const bool round = last < first;
    if (round && field.max > 1000) return refuse(field, text, "a range of years runs forwards");
    const int size = field.max - field.min + 1;
    for (int at = first; at <= last + (round ? size : 0); at += step) {
      const int inside = at > field.max ? at - size : at;
      allowed.set(static_cast<std::size_t>(inside - origin));
    }
  }
  return {};
}

Status parse_day_of_month(std::string_view text, CronExpression::Fields& fields) {
  const bool list = text.find(',') != std::string_view::npos;
  if (list && text.find_first_of("LW") != std::string_view::npos) {
    return refuse(day_field, text, "L and W stand alone, not in a list");
  }
  auto rest = text;
  fields.nearest_weekday = rest.ends_with('W');
  if (fields.nearest_weekday) rest.remove_suffix(1);
  fields.last_day = rest.starts_with('L');
  if (fields.last_day) {
    rest.remove_prefix(1);
    if (rest.empty()) return {};
    const auto offset =
        rest.size() > 1 && rest.front() == '-' ? digits(rest.substr(1)) : std::nullopt;
    if (!offset || *offset > 30) {
      return refuse(day_field, text, "L is followed by nothing, W, or - and 0 to 30");
    }
    fields.offset = *offset;
    return {};
  }
  if (fields.nearest_weekday && rest.find_first_not_of("0123456789") != std::string_view::npos) {
    return refuse(day_field, text, "W follows one day, such as 15W");
  }
  return add(day_field, rest, 0, fields.days_of_month);
}

Status parse_day_of_week(std::string_view text, CronExpression::Fields& fields) {
  const bool list = text.find(',') != std::string_view::npos;
  if (list &&
      (text.find('#') != std::string_view::npos ||
       std::ranges::any_of(split(text, ","), [](auto part) { return part.ends_with('L'); }))) {
    return refuse(weekday_field, text, "L and # stand alone, not in a list");
  }
  if (text == "L") {
    fields.days_of_week.set(7);
    return {};
  }
  if (const auto hash = text.find('#'); hash != std::string_view::npos) {
    const auto after = text.substr(hash + 1);
    const auto number = after.empty() ? std::nullopt : digits(after);
    if (!number || *number < 1 || *number > 5) {
      return refuse(weekday_field, text, "# is followed by 1 to 5");
    }
    fields.nth_weekday = *number;
    text = text.substr(0, hash);
  } else if (text.ends_with('L')) {
    fields.last_weekday_of_month = true;
    text.remove_suffix(1);
  }
  if (fields.nth_weekday > 0 || fields.last_weekday_of_month) {
    fields.days_of_week.set(static_cast<std::size_t>(TRY(value(weekday_field, text, text))));
    return {};
  }
  return add(weekday_field, text, 0, fields.days_of_week);
}

Status parse_days(std::string_view of_month, std::string_view of_week,
                  CronExpression::Fields& fields) {
  if ((of_month == "?") == (of_week == "?")) {
    return refuse(of_week == "?" ? weekday_field : day_field, of_week == "?" ? of_week : of_month,
                  "exactly one of day-of-month and day-of-week must be ?");
  }
  fields.by_weekday = of_month == "?";
  return fields.by_weekday ? parse_day_of_week(of_week, fields)
                           : parse_day_of_month(of_month, fields);
}

std::string upper(std::string_view text) {
  std::string made(text);
  std::ranges::transform(made, made.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  });
  return made;
}

}  // namespace

bool is_cron_off(std::string_view text) {
  const auto word = upper(text);
  return word == "OFF" || word == "DISABLED";
}

Result<CronExpression> CronExpression::parse(std::string_view text) {
  const auto all = upper(text);
  std::vector<std::string_view> parts;
  for (const auto part : split(all, " \t\n\r")) {
    if (!part.empty()) parts.push_back(part);
  }
  if (parts.size() < 6 || parts.size() > 7) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("'{}' has {} fields; 6 or 7 are expected: seconds, minutes, hours, "
                            "day-of-month, month, day-of-week and perhaps year",
                            text, parts.size()));
  }
  Fields fields;
  TRY(add(second_field, parts[0], 0, fields.seconds));
  TRY(add(minute_field, parts[1], 0, fields.minutes));
  TRY(add(hour_field, parts[2], 0, fields.hours));
  TRY(add(month_field, parts[4], 0, fields.months));
  TRY(parse_days(parts[3], parts[5], fields));
  TRY(add(year_field, parts.size() == 7 ? parts[6] : "*", year_min, fields.years));
  return CronExpression(fields);
}

}  // namespace betrace::kms
