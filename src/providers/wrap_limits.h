// What every provider refuses before it asks anybody, so that `local` and the remote ones accept
// the same requests. Thread-safe.
#pragma once

#include <cstddef>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

inline constexpr std::size_t wrap_bytes_max = 4096;

// Strings of valid UTF-8: a context has one form as bytes. Errors: invalid_argument.
Status check_wrap_context(const EncryptionContext& context);
// 1 to 4096 bytes, AWS KMS's limit. Errors: invalid_argument.
Status check_wrap_size(std::size_t plaintext_bytes);

}  // namespace betrace::kms
