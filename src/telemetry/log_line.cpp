#include "telemetry/log_line.h"

#include <iterator>

#include <fmt/format.h>

namespace betrace::kms {
namespace {

struct CodePoint {
  char32_t value = 0;
  std::size_t size = 0;  // 0: the byte does not begin valid UTF-8
};

CodePoint decode_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return {};
  char32_t value = lead & (0x7Fu >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    value = (value << 6) | (byte(i) & 0x3Fu);
  }
  constexpr char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < smallest[size] || value > 0x10FFFF || surrogate) return {};
  return {value, size};
}

// What a terminal or a log shipper may take for the end of a line or for a command, and what turns
// the text after it around.
bool is_control(char32_t c) {
  const auto is_in = [c](char32_t first, char32_t last) { return c >= first && c <= last; };
  return c < 0x20 || is_in(0x7F, 0x9F) || is_in(0x200E, 0x200F) || is_in(0x2028, 0x202E) ||
         is_in(0x2066, 0x2069);
}

void append_escaped(char32_t c, std::string& out) {
  switch (c) {
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<std::uint32_t>(c));
  }
}

template <class Invalid>
void append_printable(std::string_view text, bool json, Invalid invalid, std::string& out) {
  while (!text.empty()) {
    const CodePoint c = decode_utf8(text);
    if (c.size == 0) {
      invalid(static_cast<unsigned char>(text.front()));
      text.remove_prefix(1);
      continue;
    }
    if (is_control(c.value)) {
      append_escaped(c.value, out);
    } else {
      if (json && (c.value == '"' || c.value == '\\')) out += '\\';
      out += text.substr(0, c.size);
    }
    text.remove_prefix(c.size);
  }
}

void append_text(std::string_view text, std::string& out) {
  append_printable(
      text, false,
      [&](unsigned char byte) { fmt::format_to(std::back_inserter(out), "\\x{:02x}", byte); }, out);
}

void append_json(std::string_view text, std::string& out) {
  out += '"';
  append_printable(text, true, [&](unsigned char) { out += "\\ufffd"; }, out);
  out += '"';
}

void append_time(std::chrono::system_clock::time_point at, char separator, char fraction,
                 std::string& out) {
  using namespace std::chrono;
  const auto moment = floor<milliseconds>(at);
  const auto day = floor<days>(moment);
  const year_month_day date(day);
  const hh_mm_ss time(moment - day);
  fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}{}{:03}",
                 static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                 static_cast<unsigned>(date.day()), separator, time.hours().count(),
                 time.minutes().count(), time.seconds().count(), fraction,
                 time.subseconds().count());
}

}  // namespace

std::string_view log_level_name(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::critical:
      return "FATAL";
    case spdlog::level::err:
      return "ERROR";
    case spdlog::level::warn:
      return "WARN";
    case spdlog::level::info:
      return "INFO";
    case spdlog::level::debug:
      return "DEBUG";
    default:
      return "TRACE";
  }
}

void append_text_line(const LogLine& line, std::string& out) {
  append_time(line.at, ' ', ',', out);
  fmt::format_to(std::back_inserter(out), " {:<5} [", log_level_name(line.level));
  append_text(line.category, out);
  out += "] (";
  append_text(line.thread, out);
  out += ") ";
  append_text(line.message, out);
  out += '\n';
}

void append_json_line(const LogLine& line, std::string& out) {
  out += "{\"timestamp\":\"";
  append_time(line.at, 'T', '.', out);
  fmt::format_to(std::back_inserter(out), "Z\",\"sequence\":{},\"loggerName\":", line.sequence);
  append_json(line.category, out);
  fmt::format_to(std::back_inserter(out),
                 ",\"level\":\"{}\",\"message\":", log_level_name(line.level));
  append_json(line.message, out);
  out += ",\"threadName\":";
  append_json(line.thread, out);
  out += "}\n";
}

}  // namespace betrace::kms
