// Ed25519 (RFC 8032) over many messages at once, key and payload in each job; a single one is a
// batch of one. Behind it libsodium; a multi-buffer implementation fits the same shape.
// Thread-safe; never blocks.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

using ByteView = std::span<const std::uint8_t>;
using SignatureBytes = std::array<std::uint8_t, 64>;

struct SignJob {
  const SecretBytes* key = nullptr;  // 64 bytes: seed, then public key
  ByteView payload;
  SignatureBytes signature{};  // out
};

struct VerifyJob {
  ByteView public_key;  // 32 bytes
  ByteView payload;
  ByteView signature;
  bool valid = false;  // out
};

class Signer {
 public:
  virtual ~Signer() = default;
  virtual void sign(std::span<SignJob> jobs) const = 0;
  // Strict: small-order keys, non-canonical encodings and wrong sizes are invalid.
  virtual void verify(std::span<VerifyJob> jobs) const = 0;
};

// libsodium's; lives as long as the process.
const Signer& sodium_signer();

}  // namespace betrace::kms
