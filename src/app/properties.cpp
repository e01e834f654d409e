#include "app/properties.h"

#include <cstdint>
#include <optional>

#include <fmt/format.h>

#include "base/try.h"

namespace betrace::kms {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\f'; }
bool is_line_end(char c) { return c == '\n' || c == '\r'; }

struct LogicalLine {
  std::string text;  // continuations joined, escapes as written
  int line = 0;
};

// Cuts a text into logical lines: comments and empty lines dropped, continuations joined.
class LineReader {
 public:
  explicit LineReader(std::string_view text) : rest_(text) {}

  std::optional<LogicalLine> next() {
    LogicalLine logical;
    bool continued = false;
    while (!rest_.empty()) {
      while (!rest_.empty() && is_blank(rest_.front())) rest_.remove_prefix(1);
      if (rest_.empty()) break;
      if (logical.text.empty()) {
        if (is_line_end(rest_.front()) && !continued) {
          end_line();
          continue;
        }
        if (rest_.front() == '#' || rest_.front() == '!') {
          while (!rest_.empty() && !is_line_end(rest_.front())) rest_.remove_prefix(1);
          end_line();
          continued = false;
          continue;
        }
        logical.line = line_;
      }
      continued = take_natural_line(logical.text);
      if (!continued && !logical.text.empty()) return logical;
    }
    if (logical.text.empty()) return std::nullopt;
    return logical;
  }

 private:
  // Appends up to the end of the line and answers whether the next one continues it.
  bool take_natural_line(std::string& text) {
    bool escaped = false;
    while (!rest_.empty() && !is_line_end(rest_.front())) {
      escaped = rest_.front() == '\\' && !escaped;
      text += rest_.front();
      rest_.remove_prefix(1);
    }
    if (escaped) text.pop_back();
    end_line();
    return escaped;
  }

  void end_line() {
    if (rest_.empty()) return;
    const bool pair = rest_.starts_with("\r\n");
    rest_.remove_prefix(pair ? 2 : 1);
    ++line_;
  }

  std::string_view rest_;
  int line_ = 1;
};

// Where an unescaped character of `stops` stands, or the end.
std::size_t find_unescaped(std::string_view text, std::string_view stops) {
  bool escaped = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!escaped && stops.find(text[i]) != std::string_view::npos) return i;
    escaped = text[i] == '\\' && !escaped;
  }
  return text.size();
}

// The value without ` # …` and the blanks before it.
std::string_view without_comment(std::string_view value, bool blank_before, bool& cut) {
  for (std::size_t at = 0; at < value.size(); ++at) {
    at += find_unescaped(value.substr(at), "#");
    if (at >= value.size()) break;
    if (at == 0 ? !blank_before : !is_blank(value[at - 1])) continue;
    cut = true;
    value = value.substr(0, at);
    while (!value.empty() && is_blank(value.back())) {
      const bool escaped = value.size() > 1 && value[value.size() - 2] == '\\';
      if (escaped) break;
      value.remove_suffix(1);
    }
    break;
  }
  return value;
}

void append_utf8(char32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

// The UTF-16 unit of `uXXXX` at the front.
std::optional<char32_t> take_unit(std::string_view& text) {
  if (text.size() < 5 || text.front() != 'u') return std::nullopt;
  char32_t unit = 0;
  for (const char c : text.substr(1, 4)) {
    const char lower = c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c;
    const bool digit = lower >= '0' && lower <= '9';
    if (!digit && (lower < 'a' || lower > 'f')) return std::nullopt;
    unit = unit * 16 + static_cast<char32_t>(digit ? lower - '0' : lower - 'a' + 10);
  }
  text.remove_prefix(5);
  return unit;
}

// The character of a \u escape, or of two that are a surrogate pair; `text` begins at the 'u'.
std::optional<char32_t> take_character(std::string_view& text) {
  const auto unit = take_unit(text);
  if (!unit || *unit < 0xD800 || *unit > 0xDFFF) return unit;
  if (*unit >= 0xDC00 || !text.starts_with("\\u")) return std::nullopt;
  text.remove_prefix(1);
  const auto low = take_unit(text);
  if (!low || *low < 0xDC00 || *low > 0xDFFF) return std::nullopt;
  return 0x10000 + ((*unit - 0xD800) << 10) + (*low - 0xDC00);
}

Result<std::string> unescape(std::string_view text, int line) {
  std::string out;
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c != '\\' || text.empty()) {
      if (c != '\\') out += c;
      continue;
    }
    if (text.front() == 'u') {
      const auto character = take_character(text);
      if (!character) {
        return fail(ErrorCode::invalid_argument,
                    fmt::format("line {}: malformed \\uXXXX escape: four hexadecimal digits are "
                                "accepted, and surrogates in pairs",
                                line));
      }
      append_utf8(*character, out);
      continue;
    }
    constexpr std::string_view letters = "tnrf", meanings = "\t\n\r\f";
    const auto letter = letters.find(text.front());
    if (text.starts_with("${")) out += '\\';
    out += letter == std::string_view::npos ? text.front() : meanings[letter];
    text.remove_prefix(1);
  }
  return out;
}

}  // namespace

Result<std::vector<Property>> parse_properties(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // of editors on Windows
  std::vector<Property> properties;
  LineReader lines(text);
  while (const auto line = lines.next()) {
    const std::string_view whole = line->text;
    const auto key_end = find_unescaped(whole, "=: \t\f");
    auto value_start = key_end;
    bool separated = false;
    while (value_start < whole.size()) {
      const char c = whole[value_start];
      const bool separator = !separated && (c == '=' || c == ':');
      if (!separator && !is_blank(c)) break;
      separated = separated || separator;
      ++value_start;
    }
    const bool blank_before = value_start > 0 && is_blank(whole[value_start - 1]);
    Property property{.line = line->line};
    const auto value =
        without_comment(whole.substr(value_start), blank_before, property.comment_cut);
    property.key = TRY(unescape(whole.substr(0, key_end), line->line));
    property.value = TRY(unescape(value, line->line));
    properties.push_back(std::move(property));
  }
  return properties;
}

}  // namespace betrace::kms
