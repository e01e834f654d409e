// The words of the public enumerations, and the checks of the public identifiers.
#include <algorithm>
#include <array>
#include <utility>

#include "betrace/kms/error.h"
#include "betrace/kms/key.h"
#include "betrace/kms/tenant.h"

#include "base/crypto.h"
#include "base/encoding.h"

namespace betrace::kms {
namespace {

constexpr std::size_t tenant_id_bytes_max = 128;

bool is_tenant_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == ':' || c == '-';
}

}  // namespace

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::malformed_json:
      return "malformed_json";
    case ErrorCode::reserved_payload:
      return "reserved_payload";
    case ErrorCode::invalid_ciphertext:
      return "invalid_ciphertext";
    case ErrorCode::unauthenticated:
      return "unauthenticated";
    case ErrorCode::permission_denied:
      return "permission_denied";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::tenant_not_found:
      return "tenant_not_found";
    case ErrorCode::key_not_found:
      return "key_not_found";
    case ErrorCode::method_not_allowed:
      return "method_not_allowed";
    case ErrorCode::request_timeout:
      return "request_timeout";
    case ErrorCode::conflict:
      return "conflict";
    case ErrorCode::rotation_running:
      return "rotation_running";
    case ErrorCode::already_exists:
      return "already_exists";
    case ErrorCode::destroyed:
      return "destroyed";
    case ErrorCode::payload_too_large:
      return "payload_too_large";
    case ErrorCode::header_too_large:
      return "header_too_large";
    case ErrorCode::rate_limited:
      return "rate_limited";
    case ErrorCode::internal:
      return "internal";
    case ErrorCode::corrupt:
      return "corrupt";
    case ErrorCode::not_implemented:
      return "not_implemented";
    case ErrorCode::kms_access_denied:
      return "kms_access_denied";
    case ErrorCode::kms_key_disabled:
      return "kms_key_disabled";
    case ErrorCode::kms_unavailable:
      return "kms_unavailable";
    case ErrorCode::kms_timeout:
      return "kms_timeout";
    case ErrorCode::circuit_open:
      return "circuit_open";
    case ErrorCode::wrapped_elsewhere:
      return "wrapped_elsewhere";
    case ErrorCode::overloaded:
      return "overloaded";
    case ErrorCode::store_unavailable:
      return "store_unavailable";
  }
  return "internal";
}

std::string_view to_string(KeyType type) {
  return type == KeyType::signing ? "signing" : "encryption";
}

std::string_view to_string(KeyState state) {
  constexpr std::array<std::string_view, 4> words{"active", "rotated", "revoked", "destroyed"};
  return words[static_cast<std::size_t>(state)];
}

Result<KeyType> parse_key_type(std::string_view text) {
  for (const auto type : {KeyType::signing, KeyType::encryption}) {
    if (to_string(type) == text) return type;
  }
  return fail(ErrorCode::invalid_argument, "a key type is signing or encryption");
}

std::string_view key_status(KeyState state) {
  switch (state) {
    case KeyState::active:
      return "ACTIVE";
    case KeyState::rotated:
      return "DEPRECATED";
    case KeyState::revoked:
      return "REVOKED";
    case KeyState::destroyed:
      return "DESTROYED";
  }
  std::unreachable();
}

Result<KeyState> parse_key_state(std::string_view text) {
  for (const auto state :
       {KeyState::active, KeyState::rotated, KeyState::revoked, KeyState::destroyed}) {
    if (to_string(state) == text) return state;
  }
  return fail(ErrorCode::invalid_argument, "a key state is active, rotated, revoked or destroyed");
}

std::string_view to_string(Succession::Kind kind) {
  constexpr std::array<std::string_view, 3> words{"rotation", "compromise", "unsigned"};
  return words[static_cast<std::size_t>(kind)];
}

Result<Succession::Kind> parse_succession_kind(std::string_view text) {
  using enum Succession::Kind;
  for (const auto kind : {rotation, compromise, unvouched}) {
    if (to_string(kind) == text) return kind;
  }
  return fail(ErrorCode::invalid_argument, "a succession is rotation, compromise or unsigned");
}

Result<TenantId> TenantId::parse(std::string_view text) {
  if (text.empty() || text.size() > tenant_id_bytes_max ||
      !std::ranges::all_of(text, is_tenant_character)) {
    return fail(ErrorCode::invalid_argument,
                "a tenant id is 1 to 128 characters of A-Z a-z 0-9 . _ : -");
  }
  return TenantId(std::string(text));
}

KeyId KeyId::generate(SystemTime now) {
  std::array<std::uint8_t, 16> bytes;
  random_bytes(bytes);
  const auto milliseconds = static_cast<std::uint64_t>(now.time_since_epoch().count());
  for (int i = 0; i < 6; ++i) bytes[i] = static_cast<std::uint8_t>(milliseconds >> (40 - 8 * i));
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0f) | 0x70);
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3f) | 0x80);
  return KeyId(bytes);
}

Result<KeyId> KeyId::parse(std::string_view text) {
  const auto refuse = [] {
    return fail(ErrorCode::invalid_argument,
                "a key id is a UUID such as 019383d0-7c1e-7aaa-8000-0123456789ab");
  };
  if (text.size() != 36) return refuse();
  std::string digits;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash != (text[i] == '-')) return refuse();
    if (!dash) digits += text[i];
  }
  const auto decoded = hex_decode(digits);
  if (!decoded) return refuse();
  std::array<std::uint8_t, 16> bytes;
  std::ranges::copy(*decoded, bytes.begin());
  return KeyId(bytes);
}

std::string KeyId::str() const {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text(36, '-');
  std::size_t at = 0;
  for (std::size_t i = 0; i < bytes_.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) ++at;
    text[at++] = digits[bytes_[i] >> 4];
    text[at++] = digits[bytes_[i] & 15];
  }
  return text;
}

EncryptionContext key_context(const TenantId& tenant, KeyType type) {
  return {{"keyType", std::string(to_string(type))}, {"tenantId", tenant.str()}};
}

}  // namespace betrace::kms
