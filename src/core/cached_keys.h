// What the caches hold: keys ready for use, and the public halves of all versions of a tenant.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "betrace/kms/key.h"
#include "betrace/kms/key_service.h"
#include "betrace/kms/secret_bytes.h"

#include "core/nonce_budget.h"

namespace betrace::kms {

struct SigningKey {
  KeyId id;
  std::uint32_t version = 0;
  SecretBytes secret;  // 64 bytes: seed, then public key
};

struct EncryptionKey {
  KeyId id;
  std::uint32_t version = 0;
  KeyState state = KeyState::active;
  SecretBytes secret;  // 32 bytes
  std::shared_ptr<NonceBudget> budget;
};

struct PublicKeySet {
  struct Member {
    PublicKey key;
    bool attested = false;  // the service key's signature over its record is good
  };
  KeyId service_key;            // which vouches for them
  std::vector<Member> members;  // newest version first
};

}  // namespace betrace::kms
