// What a key is apart from its secret: id, owner, version, state, public half and wrapped forms.
// States are those of NIST SP 800-57 part 1, section 7, named as the field names them.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/tenant.h"

namespace betrace::kms {

using Bytes = std::vector<std::uint8_t>;
using SystemTime = std::chrono::sys_time<std::chrono::milliseconds>;

enum class KeyType : std::uint8_t { signing, encryption };
enum class KeyState : std::uint8_t { active, rotated, revoked, destroyed };

std::string_view to_string(KeyType type);  // "signing", "encryption"
// As documents for others name it: "ACTIVE", "DEPRECATED" (rotated), "REVOKED", "DESTROYED".
std::string_view key_status(KeyState state);
std::string_view to_string(KeyState state);  // "active", "rotated", "revoked", "destroyed"
Result<KeyType> parse_key_type(std::string_view text);
Result<KeyState> parse_key_state(std::string_view text);

// UUIDv7 (RFC 9562, section 5.7): sorts by time of creation.
class KeyId {
 public:
  KeyId() = default;
  explicit KeyId(std::array<std::uint8_t, 16> bytes) : bytes_(bytes) {}
  static KeyId generate(SystemTime now);
  // Errors: invalid_argument.
  static Result<KeyId> parse(std::string_view text);

  std::string str() const;
  const std::array<std::uint8_t, 16>& bytes() const { return bytes_; }
  friend auto operator<=>(const KeyId&, const KeyId&) = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};
};

// Bound into a wrapping by the provider; unwrapping under another one fails.
// For a tenant's key: {"keyType": "signing" or "encryption", "tenantId": …}.
using EncryptionContext = std::map<std::string, std::string>;
EncryptionContext key_context(const TenantId& tenant, KeyType type);

// By what a key is wrapped: a provider's name, and the master key as that provider names it.
struct MasterKey {
  std::string provider;
  std::string master_key_id;
  friend auto operator<=>(const MasterKey&, const MasterKey&) = default;
};

// One wrapped form of a key. `master_key_id` is what the provider answered (an ARN, a versioned
// id), never the alias that was asked for: an alias may move later.
struct Wrapping {
  std::string provider;
  std::string master_key_id;
  Bytes blob;
  MasterKey master_key() const { return {.provider = provider, .master_key_id = master_key_id}; }
};

// How a signing key of version 2 or later came to follow the one before it.
struct Succession {
  enum class Kind : std::uint8_t {
    rotation,    // signed by the predecessor and by the service key
    compromise,  // the predecessor was revoked and is not believed: signed by the service key alone
    unvouched,   // made by a release that did not sign successions
  };
  Kind kind = Kind::rotation;
  Bytes by_predecessor;  // 64 bytes; empty unless a rotation
  Bytes by_service;      // 64 bytes; empty when unsigned
};
std::string_view to_string(Succession::Kind kind);  // "rotation", "compromise", "unsigned"
Result<Succession::Kind> parse_succession_kind(std::string_view text);

struct KeyRecord {
  KeyId id;
  TenantId tenant;
  KeyType type = KeyType::signing;
  std::uint32_t version = 1;
  KeyState state = KeyState::active;
  SystemTime created_at;
  std::optional<SystemTime> state_changed_at;     // when it stopped being active
  std::string reason;                             // of a revocation
  Bytes public_key;                               // signing: 32 bytes, Ed25519 (RFC 8032)
  Bytes attestation;                              // signing: 64 bytes, by the service key
  std::optional<Succession> succession;           // signing, from version 2 on
  std::optional<SystemTime> secret_destroyed_at;  // when its wrappings went
  std::vector<Wrapping> wrappings;
};

}  // namespace betrace::kms
