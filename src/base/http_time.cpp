#include "base/http_time.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace betrace::kms {
namespace {

// Digits and nothing else, or -1.
int number_at(std::string_view text, std::size_t offset, std::size_t digits) {
  int value = -1;
  const char* const begin = text.data() + offset;
  const auto [end, error] = std::from_chars(begin, begin + digits, value);
  return error == std::errc() && end == begin + digits && *begin != '-' ? value : -1;
}

}  // namespace

std::optional<SystemTime> parse_http_date(std::string_view text) {
  constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
  if (text.size() != 29 || !text.ends_with(" GMT")) return std::nullopt;
  const auto month = months.find(text.substr(8, 3));
  const std::array numbers{number_at(text, 5, 2), number_at(text, 12, 4), number_at(text, 17, 2),
                           number_at(text, 20, 2), number_at(text, 23, 2)};
  if (month == months.npos || month % 3 != 0 || std::ranges::count(numbers, -1) != 0) {
    return std::nullopt;
  }
  using namespace std::chrono;
  const year_month_day date{year(numbers[1]),
                            std::chrono::month(static_cast<unsigned>(month / 3 + 1)),
                            day(static_cast<unsigned>(numbers[0]))};
  constexpr int leap_second = 60;
  const bool in_a_day = numbers[2] < 24 && numbers[3] < 60 && numbers[4] <= leap_second;
  if (!date.ok() || !in_a_day) return std::nullopt;
  return sys_days(date) + hours(numbers[2]) + minutes(numbers[3]) + seconds(numbers[4]);
}

std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view text, SystemTime now) {
  using std::chrono::milliseconds;
  constexpr milliseconds longest = std::chrono::hours(1);
  if (const auto date = parse_http_date(text)) {
    return std::clamp(*date - now, milliseconds(0), longest);
  }
  std::uint32_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return std::min<milliseconds>(std::chrono::seconds(seconds), longest);
}

}  // namespace betrace::kms
