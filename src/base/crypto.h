// The primitives, each from a library: AES-256-GCM and SHA-2 from OpenSSL, Ed25519 from libsodium.
// Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"
#include "betrace/kms/signer.h"

namespace betrace::kms {

inline constexpr std::size_t aes_key_bytes = 32;
inline constexpr std::size_t gcm_nonce_bytes = 12;
inline constexpr std::size_t gcm_tag_bytes = 16;

// AES-256-GCM (SP 800-38D). `out` has the plaintext's size plus gcm_tag_bytes, the tag last.
void gcm_seal(const SecretBytes& key, std::span<const std::uint8_t, gcm_nonce_bytes> nonce,
              ByteView aad, ByteView plaintext, std::span<std::uint8_t> out);
// `out` has the sealed text's size less gcm_tag_bytes. False, and `out` wiped, when the tag is
// wrong.
[[nodiscard]] bool gcm_open(const SecretBytes& key,
                            std::span<const std::uint8_t, gcm_nonce_bytes> nonce, ByteView aad,
                            ByteView sealed, std::span<std::uint8_t> out);

// Ed25519: 64 bytes, the seed and then the public key, from a 32-byte seed.
SecretBytes ed25519_key_from_seed(const SecretBytes& seed);
// The public half of such a key.
ByteView ed25519_public_half(const SecretBytes& key);
// SubjectPublicKeyInfo (RFC 8410), DER.
Bytes ed25519_spki(ByteView public_key);
// The 32 bytes of a SubjectPublicKeyInfo; nothing when it is not one of Ed25519.
std::optional<Bytes> ed25519_of_spki(ByteView der);
// The same of what a person has: PEM (RFC 7468), or base64 of the DER or of the 32 bytes alone.
std::optional<Bytes> parse_ed25519_public(std::string_view text);

std::array<std::uint8_t, 32> sha256(ByteView data);
// Of the parts, one after the other.
std::array<std::uint8_t, 32> sha256(std::initializer_list<ByteView> parts);
// RFC 2104.
std::array<std::uint8_t, 32> hmac_sha256(ByteView key, ByteView data);
// For names that others have made with it, never for what must not collide.
std::array<std::uint8_t, 20> sha1(ByteView data);

// From a buffer of this thread, filled by the operating system: cheap enough for a nonce a call.
void random_bytes(std::span<std::uint8_t> out);

// Same time for equal sizes, whatever the content.
bool constant_time_equal(ByteView a, ByteView b);

// DSSE v1 pre-authentication encoding: "DSSEv1" SP len(type) SP type SP len(body) SP body.
Bytes dsse_encode(std::string_view type, ByteView body);
// Whether `bytes` are such an encoding of a type that begins with "application/vnd.betrace.".
bool is_own_assertion(ByteView bytes);

}  // namespace betrace::kms
