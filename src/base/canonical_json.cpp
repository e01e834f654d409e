#include "base/canonical_json.h"

#include <algorithm>
#include <vector>

namespace betrace::kms {
namespace {

// UTF-8 sorts by code point; RFC 8785 sorts by UTF-16 unit. They differ only where one side has a
// code point above U+FFFF (lead byte F0 or more), whose surrogates (D800…) sort before
// U+E000…U+FFFF (lead bytes EE and EF).
bool utf16_less(std::string_view a, std::string_view b) {
  const auto [at_a, at_b] = std::ranges::mismatch(a, b);
  if (at_a == a.end() || at_b == b.end()) return a.size() < b.size();
  const auto x = static_cast<unsigned char>(*at_a);
  const auto y = static_cast<unsigned char>(*at_b);
  const bool x_surrogates = x >= 0xf0;
  const bool y_surrogates = y >= 0xf0;
  if (x_surrogates != y_surrogates && std::min(x, y) >= 0xee) return x_surrogates;
  return x < y;
}

}  // namespace

void append_json_string(std::string_view text, std::string& out) {
  constexpr std::string_view digits = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += "\\u00";
          out += digits[c >> 4];
          out += digits[c & 15];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

std::string canonical_json(const EncryptionContext& context) {
  std::vector<EncryptionContext::const_iterator> members;
  for (auto it = context.begin(); it != context.end(); ++it) members.push_back(it);
  std::ranges::sort(members, utf16_less,
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
