#include "app/redaction.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/encoding.h"

namespace betrace::kms {
namespace {

constexpr std::string_view mask = "****";
constexpr std::size_t short_max = 7;

// What follows is a secret by itself, or the value of a field of such a name.
constexpr std::array<std::string_view, 3> schemes = {"bearer ", "basic ", "signature="};
constexpr std::array<std::string_view, 8> names = {"password",    "passphrase", "secret",
                                                   "token",       "credential", "authorization",
                                                   "private_key", "pin"};

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }
bool ends_value(char c) {
  return std::isspace(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("\"'&,;)}]").contains(c);
}

std::string in_lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower;
}

// Where the value of the field begins whose name ends at `at`; npos when it is no field. `text` is
// `"vault-token":"x"`, `ADMIN_TOKEN=x`, `token: x`.
std::size_t value_after_name(std::string_view text, std::size_t at) {
  while (at < text.size() && (is_word(text[at]) || text[at] == '_' || text[at] == '-')) ++at;
  if (at < text.size() && (text[at] == '"' || text[at] == '\'')) ++at;
  while (at < text.size() && text[at] == ' ') ++at;
  if (at >= text.size() || (text[at] != ':' && text[at] != '=')) return std::string_view::npos;
  ++at;
  while (at < text.size() && (text[at] == ' ' || text[at] == '"' || text[at] == '\'')) ++at;
  return at;
}

// JSON stays JSON: a flag says nothing, and a number becomes a string.
void mask_value(std::size_t at, std::string& text, std::string& lower) {
  auto end = at;
  while (end < text.size() && !ends_value(text[end])) ++end;
  const auto value = std::string_view(text).substr(at, end - at);
  if (value.empty() || value.starts_with(mask)) return;
  if (value == "true" || value == "false" || value == "null") return;
  const bool bare_in_json = at >= 2 && text[at - 1] == ':' && text[at - 2] == '"';
  const std::string masked = bare_in_json ? "\"****\"" : std::string(mask);
  text.replace(at, end - at, masked);
  lower.replace(at, end - at, masked);
}

void mask_fields(std::string& text) {
  auto lower = in_lower_case(text);
  for (const auto scheme : schemes) {
    for (auto at = lower.find(scheme); at != std::string::npos; at = lower.find(scheme, at + 1)) {
      mask_value(at + scheme.size(), text, lower);
    }
  }
  for (const auto name : names) {
    for (auto at = lower.find(name); at != std::string::npos; at = lower.find(name, at + 1)) {
      // "pin" is part of many a word.
      if (name.size() == 3 && at > 0 && is_word(lower[at - 1])) continue;
      const auto value = value_after_name(lower, at + name.size());
      if (value != std::string_view::npos) mask_value(value, text, lower);
    }
  }
}

// The password of an address, scheme://user:password@host.
void mask_passwords_of_addresses(std::string& text) {
  for (auto at = text.find("://"); at != std::string::npos; at = text.find("://", at + 3)) {
    const auto end = text.find_first_of("@/ \"'\n", at + 3);
    if (end == std::string::npos || text[end] != '@') continue;
    const auto colon = text.find(':', at + 3);
    if (colon < end) text.replace(colon + 1, end - colon - 1, mask);
  }
}

void replace_all(std::string_view form, std::string& text) {
  const bool whole_word = form.size() <= short_max;
  for (auto at = text.find(form); at != std::string::npos; at = text.find(form, at + 1)) {
    const auto end = at + form.size();
    const bool inside =
        (at > 0 && is_word(text[at - 1])) || (end < text.size() && is_word(text[end]));
    if (!whole_word || !inside) text.replace(at, form.size(), mask);
  }
}

}  // namespace

void Redaction::add_form(std::string_view form) {
  if (form.empty()) return;
  forms_.emplace_back(form);
}

void Redaction::add(const SecretBytes& secret) {
  const auto bytes = secret.expose();
  add_form(as_text(bytes));
  if (bytes.size() <= short_max) return;
  WipedString hex(hex_encode(bytes));
  add_form(hex);
  std::ranges::transform(hex, hex.begin(), [](unsigned char c) { return std::toupper(c); });
  add_form(hex);
  for (std::size_t shift = 0; shift < 3; ++shift) {
    const auto aligned = bytes.subspan(shift, (bytes.size() - shift) / 3 * 3);
    add_form(base64_encode(aligned));
    add_form(base64url_encode(aligned));
  }
}

std::string Redaction::apply(std::string_view text) const {
  std::string out(text);
  for (const auto& form : forms_) replace_all(form, out);
  mask_passwords_of_addresses(out);
  mask_fields(out);
  return out;
}

}  // namespace betrace::kms
