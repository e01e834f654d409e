// JSON out, appended to one buffer that is wiped when it goes: answers carry plaintexts. Writes
// commas by itself; nesting is the caller's to balance. Not synchronised.
#pragma once

#include <cstdint>
#include <string_view>

#include "betrace/kms/key.h"
#include "betrace/kms/secret_bytes.h"
#include "betrace/kms/signer.h"

namespace betrace::kms {

class JsonWriter {
 public:
  explicit JsonWriter(std::size_t expected_bytes = 256) { out_.reserve(expected_bytes); }

  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }

  // `name` is written as it is: plain ASCII of our own. Names from outside: text_key().
  JsonWriter& key(std::string_view name);
  JsonWriter& text_key(std::string_view name);

  // What is not valid UTF-8 in `text` becomes U+FFFD.
  JsonWriter& string(std::string_view text);
  JsonWriter& base64(ByteView bytes);
  // The text form of a ciphertext: "betrace:v1:" and base64url.
  JsonWriter& ciphertext(ByteView bytes);
  // RFC 3339, UTC, milliseconds.
  JsonWriter& time(SystemTime at);
  JsonWriter& integer(std::int64_t number);
  // Plain decimals, at most three places.
  JsonWriter& decimal(double number);
  JsonWriter& boolean(bool value) { return raw(value ? "true" : "false"); }
  JsonWriter& null() { return raw("null"); }
  // JSON that another writer has written.
  JsonWriter& verbatim(std::string_view json) { return raw(json); }

  std::string_view text() const { return out_; }
  WipedString take() && { return std::move(out_); }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  JsonWriter& raw(std::string_view token);
  void separate();
  void append_string(std::string_view text);

  WipedString out_;
  bool comma_ = false;
};

inline constexpr std::string_view ciphertext_prefix = "betrace:v1:";

}  // namespace betrace::kms
