// Bytes as text. Decoders are strict: no white space, no stray bits, padding exactly where due.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "betrace/kms/key.h"
#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

// RFC 4648 section 4, padded.
std::string base64_encode(std::span<const std::uint8_t> bytes);
void base64_append(std::span<const std::uint8_t> bytes, WipedString& out);
std::optional<WipedBytes> base64_decode(std::string_view text);

// RFC 4648 section 5, without padding.
std::string base64url_encode(std::span<const std::uint8_t> bytes);
void base64url_append(std::span<const std::uint8_t> bytes, WipedString& out);
std::optional<WipedBytes> base64url_decode(std::string_view text);

std::string hex_encode(std::span<const std::uint8_t> bytes);
std::optional<Bytes> hex_decode(std::string_view text);

// RFC 3986; '+' stays '+'. Nothing when an escape is cut or not hexadecimal.
std::optional<std::string> percent_decode(std::string_view text);
std::string percent_encode(std::string_view text);

// A whole number in decimal text: no sign, no leading zeros.
std::optional<std::uint64_t> parse_decimal(std::string_view text);
// What a terminal would obey, and what turns text around, as \xNN: control characters, and marks
// and overrides of direction.
std::string without_controls(std::string_view text);
// "1 span", "7 spans".
std::string counted(std::uint64_t count, std::string_view noun);

bool is_valid_utf8(std::string_view text);

inline std::span<const std::uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// RFC 3339, UTC: 2026-11-23T02:00:00.123Z
std::string rfc3339(SystemTime at);
// "2026-11-23T02:00:00Z", RFC 3339 with capitals and any number of decimals, which are cut off
// after milliseconds; second 60 is the one that follows. Nothing when it is not that, or not in
// UTC.
std::optional<SystemTime> parse_utc_time(std::string_view text);
// The same to put into a file's name: 20261123T020000.123Z
std::string file_stamp(SystemTime at);

}  // namespace betrace::kms
