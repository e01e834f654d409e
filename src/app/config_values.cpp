#include "app/config_values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include <fmt/format.h>

#include "app/world.h"
#include "base/encoding.h"
#include "core/cron.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::size_t shown_bytes_max = 200;
constexpr std::string_view mask = "****";

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return result;
}

void trim(std::string& text) {
  const auto first = text.find_first_not_of(" \t\r\n\f");
  const auto last = text.find_last_not_of(" \t\r\n\f");
  text = first == std::string::npos ? std::string() : text.substr(first, last - first + 1);
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool is_flag(std::string& value) {
  static constexpr std::array yes = {"true", "yes", "on", "1", "y", "t"};
  static constexpr std::array no = {"false", "no", "off", "0", "n", "f"};
  const auto is_one_of = [&](const auto& words) {
    return std::ranges::find(words, lower(value)) != words.end();
  };
  if (is_one_of(yes)) {
    value = "true";
  } else if (is_one_of(no)) {
    value = "false";
  } else {
    return false;
  }
  return true;
}

bool is_choice(std::string_view choices, std::string_view value) {
  while (!choices.empty()) {
    const auto end = std::min(choices.find(", "), choices.size());
    if (choices.substr(0, end) == value) return true;
    choices.remove_prefix(std::min(end + 2, choices.size()));
  }
  return false;
}

bool is_url(std::string_view value) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (lower(value.substr(0, scheme.size())) != scheme) continue;
    const auto rest = value.substr(scheme.size());
    return !rest.empty() && std::strchr("/?#:", rest.front()) == nullptr &&
           rest.find_first_of(" \t\"<>\\") == std::string_view::npos;
  }
  return false;
}

std::optional<std::string> refuse_cron(std::string& value) {
  if (is_cron_off(value)) {
    value = lower(value);
    return std::nullopt;
  }
  const auto cron = CronExpression::parse(value);
  if (cron) return std::nullopt;
  return fmt::format("a Quartz cron expression such as 0 0 2 * * ?, or off ({})",
                     cron.error().message);
}

bool is_name(std::string_view value) {
  return std::ranges::all_of(value, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

std::optional<std::string> refuse_integer(const ConfigKey& key, const std::string& value) {
  const auto number = parse_number<std::int64_t>(value);
  if (number && *number >= key.min && *number <= key.max) return std::nullopt;
  return fmt::format("a whole number from {} to {}", key.min, key.max);
}

std::optional<std::string> refuse_store(const std::string& value) {
  constexpr std::string_view scheme = "sqlite:";
  if (value.starts_with(scheme) && value.size() > scheme.size()) return std::nullopt;
  if (value.starts_with("postgresql:") || value.starts_with("postgres:")) {
    return "sqlite:PATH; PostgreSQL is not in this release yet";
  }
  return "sqlite:PATH";
}

std::optional<std::string> unless(bool accepted, std::string expected) {
  if (accepted) return std::nullopt;
  return expected;
}

// user:password@ of an address, and the value of a parameter named like a password.
void mask_address(std::string& text) {
  const auto scheme = text.find("://");
  if (scheme == std::string::npos) return;
  const auto start = scheme + 3;
  const auto authority_end = std::min(text.find_first_of("/?#", start), text.size());
  const auto at = text.rfind('@', authority_end);
  if (at != std::string::npos && at > start && at < authority_end) {
    const auto colon = text.find(':', start);
    if (colon < at) text.replace(colon + 1, at - colon - 1, mask);
  }
  for (const std::string_view name : {"password=", "sslpassword=", "token=", "secret="}) {
    auto found = lower(text).find(name, start);
    while (found != std::string::npos) {
      const auto from = found + name.size();
      const auto end = std::min(text.find_first_of("&#", from), text.size());
      text.replace(from, end - from, mask);
      found = lower(text).find(name, from + mask.size());
    }
  }
}

}  // namespace

std::optional<std::string> refuse_value(const ConfigKey& key, std::string& value) {
  if (key.type == ConfigType::secret) {
    return unless(std::ranges::none_of(value, is_control), "one line without control characters");
  }
  trim(value);
  if (!is_valid_utf8(value)) return "UTF-8";
  if (value.empty() || std::ranges::any_of(value, is_control)) {
    return "one line without control characters";
  }
  switch (key.type) {
    case ConfigType::text:
    case ConfigType::secret:
      return std::nullopt;
    case ConfigType::name:
      value = lower(value);
      return unless(is_name(value), "a name of letters, digits, - and _");
    case ConfigType::integer:
      return refuse_integer(key, value);
    case ConfigType::ratio: {
      const auto number = parse_number<double>(value);
      return unless(number && *number > 0 && *number <= 1, "a number above 0 and at most 1");
    }
    case ConfigType::fraction: {
      const auto number = parse_number<double>(value);
      return unless(number && *number >= 0 && *number <= 1, "a number from 0 to 1");
    }
    case ConfigType::flag:
      return unless(is_flag(value), "true or false");
    case ConfigType::choice:
      value = lower(value);
      return unless(is_choice(key.choices, value), fmt::format("one of {}", key.choices));
    case ConfigType::log_level:
      return unless(parse_log_level(value).has_value(),
                    "one of OFF, FATAL, ERROR, WARN, INFO, DEBUG, TRACE, ALL");
    case ConfigType::url:
      return unless(is_url(value), "an address that begins with http:// or https://");
    case ConfigType::store_url:
      return refuse_store(value);
    case ConfigType::cron:
      return refuse_cron(value);
    case ConfigType::time_zone:
      return unless(TimeZone::find(value).has_value(),
                    "a name of the time zone database such as UTC or Europe/Berlin");
  }
  return std::nullopt;
}

std::string shown_value(const ConfigKey& key, std::string_view value) {
  if (key.type == ConfigType::secret) return std::string(mask);
  std::string text(value);
  mask_address(text);
  return shown_name(text);
}

std::string shown_name(std::string_view name) {
  std::string text = printable(name);
  if (!is_valid_utf8(text)) {
    std::ranges::replace_if(
        text, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
  }
  if (text.size() <= shown_bytes_max) return text;
  auto end = shown_bytes_max;
  while ((static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "…";
}

}  // namespace betrace::kms
