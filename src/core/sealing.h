// The ciphertext that callers keep (format 1):
//   1 byte   format, 0x01
//   4 bytes  key version, big-endian
//   12 bytes nonce, random
//   n bytes  AES-256-GCM ciphertext, then its 16-byte tag
// The tag also covers, as additional data, what is not in it:
//   "betrace:v1" | version, 4 bytes | tenant, length-prefixed | each pair of the context in byte
//   order of its name, name and value length-prefixed
// where a length is 4 bytes, big-endian: no two inputs share an encoding.
#pragma once

#include <cstdint>
#include <optional>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"
#include "betrace/kms/signer.h"

#include "core/cached_keys.h"

namespace betrace::kms {

// Errors: invalid_argument for more than 64 pairs, more than 8 KiB, or text that is not UTF-8.
Status check_context(const EncryptionContext& context);

// The additional data of one tenant, version and context.
Bytes additional_data(const TenantId& tenant, std::uint32_t version,
                      const EncryptionContext& context);

Bytes seal(const EncryptionKey& key, ByteView additional_data, ByteView plaintext);

// The key version a ciphertext names. Errors: invalid_ciphertext.
Result<std::uint32_t> sealed_version(ByteView ciphertext);

// Errors: invalid_ciphertext, with the sentence of the manual's Issue 8.
Result<WipedBytes> unseal(const EncryptionKey& key, ByteView additional_data, ByteView ciphertext);

}  // namespace betrace::kms
