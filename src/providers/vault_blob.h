// The ciphertext of Vault's transit engine as bytes and as its own text; see vault.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "betrace/kms/key.h"

namespace betrace::kms {

// Key version, 4 bytes, big-endian | ciphertext. Nothing unless `text` is "vault:v" VERSION ":"
// base64, in the one form of writing it.
std::optional<Bytes> vault_bytes(std::string_view text);

// And back; nothing when there is no version or no ciphertext.
std::optional<std::string> vault_text(std::span<const std::uint8_t> bytes);

}  // namespace betrace::kms
