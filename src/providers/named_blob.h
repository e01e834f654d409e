// A blob that says whose it is, for providers whose answer to another master key's blob is the same
// as to another context: 01 | first 8 bytes of SHA-256(master key id) | what the provider wrapped.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

Bytes name_blob(std::string_view master_key_id, std::span<const std::uint8_t> wrapped);

// What was wrapped; points into `wrapping`. Errors: wrapped_elsewhere when it is of another
// provider or master key, invalid_ciphertext when it is no such blob.
Result<std::span<const std::uint8_t>> open_named_blob(const Wrapping& wrapping,
                                                      std::string_view provider,
                                                      std::string_view master_key_id);

}  // namespace betrace::kms
