#include "api/json_writer.h"

#include <charconv>

#include <fmt/format.h>

#include "base/encoding.h"

namespace betrace::kms {
namespace {

bool is_plain(char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }

// The length of the valid UTF-8 sequence at the front, 0 when there is none.
std::size_t sequence_at_front(std::string_view text) {
  for (std::size_t length = 1; length <= 4 && length <= text.size(); ++length) {
    if (is_valid_utf8(text.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

void JsonWriter::separate() {
  if (comma_) out_ += ',';
  comma_ = true;
}

JsonWriter& JsonWriter::open(char bracket) {
  separate();
  out_ += bracket;
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  out_ += bracket;
  comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::raw(std::string_view token) {
  separate();
  out_ += token;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  separate();
  out_ += '"';
  out_ += name;
  out_ += "\":";
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::text_key(std::string_view name) {
  separate();
  append_string(name);
  out_ += ':';
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::string(std::string_view text) {
  separate();
  append_string(text);
  return *this;
}

void JsonWriter::append_string(std::string_view text) {
  out_ += '"';
  while (!text.empty()) {
    std::size_t plain = 0;
    while (plain < text.size() && is_plain(text[plain])) ++plain;
    out_ += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    const auto c = static_cast<unsigned char>(text.front());
    std::size_t used = 1;
    if (c == '"' || c == '\\') {
      out_ += '\\';
      out_ += text.front();
    } else if (c == '\n') {
      out_ += "\\n";
    } else if (c < 0x80) {
      fmt::format_to(std::back_inserter(out_), "\\u{:04x}", c);
    } else if (const auto length = sequence_at_front(text)) {
      out_ += text.substr(0, length);
      used = length;
    } else {
      out_ += "\xef\xbf\xbd";
    }
    text.remove_prefix(used);
  }
  out_ += '"';
}

JsonWriter& JsonWriter::base64(ByteView bytes) {
  separate();
  out_ += '"';
  base64_append(bytes, out_);
  out_ += '"';
  return *this;
}

JsonWriter& JsonWriter::ciphertext(ByteView bytes) {
  separate();
  out_ += '"';
  out_ += ciphertext_prefix;
  base64url_append(bytes, out_);
  out_ += '"';
  return *this;
}

JsonWriter& JsonWriter::time(SystemTime at) { return string(rfc3339(at)); }

JsonWriter& JsonWriter::integer(std::int64_t number) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  return raw({digits, end});
}

JsonWriter& JsonWriter::decimal(double number) {
  auto text = fmt::format("{:.3f}", number);
  while (text.ends_with('0')) text.pop_back();
  if (text.ends_with('.')) text.pop_back();
  return raw(text);
}

}  // namespace betrace::kms
