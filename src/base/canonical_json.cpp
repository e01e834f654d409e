#include "base/canonical_json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>

namespace betrace::kms {

// UTF-8 sorts by code point; RFC 8785 sorts by UTF-16 unit. They differ only where one side has a
// code point above U+FFFF (lead byte F0 or more), whose surrogates (D800…) sort before
// U+E000…U+FFFF (lead bytes EE and EF).
bool canonical_less(std::string_view a, std::string_view b) {
  const auto [at_a, at_b] = std::ranges::mismatch(a, b);
  if (at_a == a.end() || at_b == b.end()) return a.size() < b.size();
  const auto x = static_cast<unsigned char>(*at_a);
  const auto y = static_cast<unsigned char>(*at_b);
  const bool x_surrogates = x >= 0xf0;
  const bool y_surrogates = y >= 0xf0;
  if (x_surrogates != y_surrogates && std::min(x, y) >= 0xee) return x_surrogates;
  return x < y;
}

namespace {

constexpr std::string_view hex_digits = "0123456789abcdef";

bool is_plain(char c) { return static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\'; }

// Where, from `at` on, the first byte is that must be escaped; eight at a time.
std::size_t end_of_plain(std::string_view text, std::size_t at) {
  constexpr std::uint64_t ones = 0x0101010101010101, tops = 0x80 * ones;
  // Whether a byte is below `limit`, of at most 0x80.
  const auto has_below = [](std::uint64_t word, std::uint64_t limit) {
    return (word - limit * ones) & ~word & tops;
  };
  for (std::uint64_t word = 0; at + sizeof word <= text.size(); at += sizeof word) {
    std::memcpy(&word, text.data() + at, sizeof word);
    const auto quotes = word ^ '"' * ones, backslashes = word ^ '\\' * ones;
    if ((has_below(word, 0x20) | has_below(quotes, 1) | has_below(backslashes, 1)) != 0) break;
  }
  while (at < text.size() && is_plain(text[at])) ++at;
  return at;
}

// What must be escaped is rare: the runs between are appended whole.
template <class String>
void append_escaped(std::string_view text, String& out) {
  auto plain_end = end_of_plain(text, 0);
  if (plain_end == text.size()) {
    const auto before = out.size(), size = before + text.size() + 2;
    out.resize_and_overwrite(size, [&](char* data, std::size_t /*libstdc++ 12: the capacity*/) {
      data[before] = data[size - 1] = '"';
      text.copy(data + before + 1, text.size());
      return size;
    });
    return;
  }
  out += '"';
  std::size_t begin = 0;
  for (; plain_end < text.size(); plain_end = end_of_plain(text, begin)) {
    const auto c = static_cast<unsigned char>(text[plain_end]);
    out += text.substr(begin, plain_end - begin);
    begin = plain_end + 1;
    constexpr std::string_view plain = "\"\\\b\f\n\r\t", letters = "\"\\bfnrt";
    if (const auto at = plain.find(text[plain_end]); at != plain.npos) {
      out += '\\';
      out += letters[at];
    } else {
      out += "\\u00";
      out += hex_digits[c >> 4];
      out += hex_digits[c & 15];
    }
  }
  out += text.substr(begin);
  out += '"';
}

// ECMAScript's Number::toString, which RFC 8785 section 3.2.2.3 asks for: the shortest digits that
// read back as the same number, and an exponent only outside 1e-6 ... 1e21.
void append_number(double number, WipedString& out) {
  if (number == 0) {  // -0 as well
    out += '0';
    return;
  }
  std::array<char, 32> buffer;
  const auto end =
      std::to_chars(buffer.begin(), buffer.end(), std::abs(number), std::chars_format::scientific)
          .ptr;
  const std::string_view text(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  const auto e = text.find('e');
  std::string digits(text.substr(0, 1));
  if (e > 2) digits += text.substr(2, e - 2);
  int exponent = 0;
  const auto sign = text[e + 1] == '+' ? 2 : 1;  // from_chars takes no '+'
  std::from_chars(text.data() + e + sign, end, exponent);
  const int count = static_cast<int>(digits.size());
  const int point = exponent + 1;  // of the digits, before which the decimal point is
  if (number < 0) out += '-';
  if (point > 21 || point < -5) {
    out += digits.substr(0, 1);
    if (count > 1) (out += '.') += digits.substr(1);
    out += exponent < 0 ? "e-" : "e+";
    out += std::to_string(std::abs(exponent));
  } else if (point <= 0) {
    ((out += "0.").append(static_cast<std::size_t>(-point), '0')) += digits;
  } else if (point >= count) {
    (out += digits).append(static_cast<std::size_t>(point - count), '0');
  } else {
    out += digits.substr(0, static_cast<std::size_t>(point));
    (out += '.') += digits.substr(static_cast<std::size_t>(point));
  }
}

void append_object(const boost::json::object& object, WipedString& out) {
  std::vector<const boost::json::key_value_pair*> members;
  members.reserve(object.size());
  for (const auto& member : object) members.push_back(&member);
  std::ranges::sort(members, canonical_less,
                    [](const auto* member) -> std::string_view { return member->key(); });
  out += '{';
  for (const auto* member : members) {
    if (member != members.front()) out += ',';
    append_json_string(member->key(), out);
    out += ':';
    append_canonical_json(member->value(), out);
  }
  out += '}';
}

}  // namespace

void append_json_string(std::string_view text, std::string& out) { append_escaped(text, out); }
void append_json_string(std::string_view text, WipedString& out) { append_escaped(text, out); }

void append_canonical_json(const boost::json::value& value, WipedString& out) {
  switch (value.kind()) {
    case boost::json::kind::null:
      out += "null";
      break;
    case boost::json::kind::bool_:
      out += value.get_bool() ? "true" : "false";
      break;
    case boost::json::kind::int64:
      out += std::to_string(value.get_int64());
      break;
    case boost::json::kind::uint64:
      out += std::to_string(value.get_uint64());
      break;
    case boost::json::kind::double_:
      append_number(value.get_double(), out);
      break;
    case boost::json::kind::string:
      append_json_string(value.get_string(), out);
      break;
    case boost::json::kind::array: {
      out += '[';
      bool first = true;
      for (const auto& item : value.get_array()) {
        if (!std::exchange(first, false)) out += ',';
        append_canonical_json(item, out);
      }
      out += ']';
      break;
    }
    case boost::json::kind::object:
      append_object(value.get_object(), out);
      break;
  }
}

std::string canonical_json(const EncryptionContext& context) {
  std::vector<EncryptionContext::const_iterator> members;
  for (auto it = context.begin(); it != context.end(); ++it) members.push_back(it);
  std::ranges::sort(members, canonical_less,
                    [](const auto& it) -> std::string_view { return it->first; });
  std::string out = "{";
  for (const auto& member : members) {
    if (out.size() > 1) out += ',';
    append_json_string(member->first, out);
    out += ':';
    append_json_string(member->second, out);
  }
  out += '}';
  return out;
}

}  // namespace betrace::kms
