#include "base/encoding.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include <fmt/format.h>

namespace betrace::kms {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// -1 when something else is among them.
int digits(std::string_view text, std::size_t offset, std::size_t count) {
  int value = 0;
  for (const char c : text.substr(offset, count)) {
    if (!is_digit(c)) return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}

// Own code: of the libraries at hand libsodium's decoder costs 3 ns a byte and OpenSSL's accepts
// white space; a batch of signatures has 0.1 ms for all of its text.
constexpr std::string_view standard_alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view url_alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::uint8_t not_a_digit = 0xff;

constexpr std::array<std::uint8_t, 256> digits_of(std::string_view alphabet) {
  std::array<std::uint8_t, 256> digits{};
  digits.fill(not_a_digit);
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    digits[static_cast<std::uint8_t>(alphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return digits;
}
constexpr auto standard_digits = digits_of(standard_alphabet);
constexpr auto url_digits = digits_of(url_alphabet);

std::size_t encoded_size(std::size_t bytes, bool padded) {
  return padded ? (bytes + 2) / 3 * 4 : (bytes * 4 + 2) / 3;
}

void encode(std::span<const std::uint8_t> in, std::string_view alphabet, bool padded, char* out) {
  std::size_t i = 0;
  for (; i + 3 <= in.size(); i += 3) {
    const std::uint32_t word = in[i] << 16 | in[i + 1] << 8 | in[i + 2];
    *out++ = alphabet[word >> 18];
    *out++ = alphabet[word >> 12 & 63];
    *out++ = alphabet[word >> 6 & 63];
    *out++ = alphabet[word & 63];
  }
  if (i == in.size()) return;
  const bool two = in.size() - i == 2;
  const std::uint32_t word = in[i] << 16 | (two ? in[i + 1] << 8 : 0);
  *out++ = alphabet[word >> 18];
  *out++ = alphabet[word >> 12 & 63];
  if (two) *out++ = alphabet[word >> 6 & 63];
  if (padded) {
    if (!two) *out++ = '=';
    *out++ = '=';
  }
}

// Four digits a step; what is not a digit has its high bits set and shows in `seen`.
std::optional<WipedBytes> decode(std::string_view text,
                                 const std::array<std::uint8_t, 256>& digits) {
  const auto rest = text.size() % 4;
  if (rest == 1) return std::nullopt;
  WipedBytes out(text.size() / 4 * 3 + (rest == 0 ? 0 : rest - 1));
  auto* to = out.data();
  std::uint8_t seen = 0;
  const auto digit = [&](std::size_t i) {
    const auto value = digits[static_cast<std::uint8_t>(text[i])];
    seen |= value;
    return static_cast<std::uint32_t>(value);
  };
  std::size_t i = 0;
  for (; i + 4 <= text.size(); i += 4) {
    const auto word = digit(i) << 18 | digit(i + 1) << 12 | digit(i + 2) << 6 | digit(i + 3);
    *to++ = static_cast<std::uint8_t>(word >> 16);
    *to++ = static_cast<std::uint8_t>(word >> 8);
    *to++ = static_cast<std::uint8_t>(word);
  }
  if (rest != 0) {
    const auto word =
        digit(i) << 18 | digit(i + 1) << 12 | (rest == 3 ? digit(i + 2) << 6 : std::uint32_t{0});
    *to++ = static_cast<std::uint8_t>(word >> 16);
    if (rest == 3) *to++ = static_cast<std::uint8_t>(word >> 8);
    const auto stray_bits = rest == 3 ? word & 0xff : word & 0xffff;
    if (stray_bits != 0) return std::nullopt;
  }
  if ((seen & 0xc0) != 0) return std::nullopt;
  return out;
}

std::string encode_to_string(std::span<const std::uint8_t> bytes, std::string_view alphabet,
                             bool padded) {
  std::string out(encoded_size(bytes.size(), padded), '\0');
  encode(bytes, alphabet, padded, out.data());
  return out;
}

void encode_onto(std::span<const std::uint8_t> bytes, std::string_view alphabet, bool padded,
                 WipedString& out) {
  const auto at = out.size();
  out.resize(at + encoded_size(bytes.size(), padded));
  encode(bytes, alphabet, padded, out.data() + at);
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string base64_encode(std::span<const std::uint8_t> bytes) {
  return encode_to_string(bytes, standard_alphabet, true);
}
void base64_append(std::span<const std::uint8_t> bytes, WipedString& out) {
  encode_onto(bytes, standard_alphabet, true, out);
}
std::optional<WipedBytes> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  if (text.ends_with("==")) {
    text.remove_suffix(2);
  } else if (text.ends_with('=')) {
    text.remove_suffix(1);
  }
  return decode(text, standard_digits);
}

std::string base64url_encode(std::span<const std::uint8_t> bytes) {
  return encode_to_string(bytes, url_alphabet, false);
}
void base64url_append(std::span<const std::uint8_t> bytes, WipedString& out) {
  encode_onto(bytes, url_alphabet, false, out);
}
std::optional<WipedBytes> base64url_decode(std::string_view text) {
  return decode(text, url_digits);
}

std::string hex_encode(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const auto byte : bytes) {
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out;
}

std::optional<Bytes> hex_decode(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  Bytes out;
  out.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = hex_value(text[i]);
    const int low = hex_value(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    out.push_back(static_cast<std::uint8_t>(high << 4 | low));
  }
  return out;
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_value(text[i + 1]);
    const int low = hex_value(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high << 4 | low);
    i += 2;
  }
  return out;
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                            (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
    if (unreserved) {
      out += c;
      continue;
    }
    const auto byte = static_cast<std::uint8_t>(c);
    out += '%';
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out;
}

namespace {

// How many bytes of the text's first character a terminal obeys, or turns text around for.
std::size_t control_bytes(std::string_view text) {
  const auto byte = [&](std::size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0;
  };
  const auto is_in = [](int value, int first, int last) { return value >= first && value <= last; };
  if (byte(0) < 0x20 || byte(0) == 0x7f) return 1;
  if (byte(0) == 0xc2 && is_in(byte(1), 0x80, 0x9f)) return 2;  // U+0080 to U+009F
  if (byte(0) != 0xe2) return 0;
  const bool mark = byte(1) == 0x80 && (is_in(byte(2), 0x8e, 0x8f) || is_in(byte(2), 0xaa, 0xae));
  const bool isolate = byte(1) == 0x81 && is_in(byte(2), 0xa6, 0xa9);  // U+2066 to U+2069
  return mark || isolate ? 3 : 0;
}

}  // namespace

std::string without_controls(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto control = control_bytes(text);
    for (const unsigned char byte : text.substr(0, control)) out += fmt::format("\\x{:02x}", byte);
    if (control == 0) out += text.front();
    text.remove_prefix(std::max<std::size_t>(control, 1));
  }
  return out;
}

std::string counted(std::uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

bool is_valid_utf8(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<std::uint8_t>(text[i]);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const std::size_t more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || i + more >= text.size()) return false;
    std::uint32_t point = lead & (0x3f >> more);
    for (std::size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<std::uint8_t>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      point = point << 6 | (next & 0x3f);
    }
    const std::uint32_t least = more == 3 ? 0x10000 : more == 2 ? 0x800 : 0x80;
    if (point < least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false;
    i += more + 1;
  }
  return true;
}

std::string rfc3339(SystemTime at) {
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(at - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     time.hours().count(), time.minutes().count(), time.seconds().count(),
                     time.subseconds().count());
}

std::optional<std::uint64_t> parse_decimal(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  const bool padded = text.size() > 1 && text.front() == '0';
  if (!whole || padded) return std::nullopt;
  return number;
}

std::optional<SystemTime> parse_utc_time(std::string_view text) {
  if (text.size() < 20 || text.back() != 'Z' || text[4] != '-' || text[7] != '-' ||
      text[10] != 'T' || text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  const int year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
  const int hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
  if (year < 0 || month < 0 || day < 0 || hour < 0 || minute < 0 || second < 0) return std::nullopt;
  if (hour > 23 || minute > 59 || second > 60) return std::nullopt;  // 60: a leap second
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  const auto fraction = text.substr(19, text.size() - 20);
  if (!date.ok()) return std::nullopt;
  int milliseconds = 0;
  if (!fraction.empty()) {
    const auto decimals = fraction.substr(1);
    if (fraction.front() != '.' || decimals.empty() || !std::ranges::all_of(decimals, is_digit)) {
      return std::nullopt;
    }
    auto thousandths = std::string(decimals.substr(0, 3));
    thousandths.resize(3, '0');
    milliseconds = digits(thousandths, 0, 3);
  }
  return std::chrono::sys_days(date) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         std::chrono::seconds(second) + std::chrono::milliseconds(milliseconds);
}

std::string file_stamp(SystemTime at) {
  auto text = rfc3339(at);
  std::erase_if(text, [](char c) { return c == '-' || c == ':'; });
  return text;
}

}  // namespace betrace::kms
