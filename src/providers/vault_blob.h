// The wrapped form of the vault provider as bytes and as Vault's own text; see vault.h.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

// Nothing unless `text` is "vault:v" VERSION ":" base64, in the one form of writing it.
std::optional<Bytes> vault_blob(std::string_view text, std::string_view master_key_id);

// The text of a blob. Errors: wrapped_elsewhere when it is of another master key,
// invalid_ciphertext when it is no such blob.
Result<std::string> vault_text(std::span<const std::uint8_t> blob, std::string_view master_key_id);

}  // namespace betrace::kms
