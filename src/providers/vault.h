// Vault's or OpenBao's transit engine as a provider: datakey/plaintext, encrypt, decrypt and the
// key's description (developer.hashicorp.com/vault/api-docs/secret/transit).
//
// The encryption context goes as `associated_data`, its canonical JSON in base64. A blob is
//   01 | first 8 bytes of SHA-256(master key id) | key version, 4 bytes, big-endian | ciphertext
// and is opened elsewhere as "vault:v" VERSION ":" base64(ciphertext): bytes, because a bit of a
// base64 text can change without changing what it says.
#pragma once

#include <memory>

#include "betrace/kms/provider.h"

namespace betrace::kms {

struct ProviderEnvironment;

// Settings: vault.…, see read_vault_settings(). Asks nobody: it logs in at the first call.
// Errors: invalid_argument.
Result<std::unique_ptr<Provider>> make_vault_provider(const ProviderEnvironment& environment);

}  // namespace betrace::kms
