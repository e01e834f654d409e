// Azure Key Vault and Managed HSM as a provider, by REST 7.4
// (learn.microsoft.com/rest/api/keyvault): wrapKey and unwrapKey with RSA-OAEP-256, or with A256KW
// where the key is symmetric.
//
// Key Vault knows no encryption context. So each wrapping has a key-encryption key (KEK) of its
// own, random bytes of this machine, which the vault wraps; what is to be kept is sealed under the
// KEK by AES-256-GCM with the context as additional data. A blob is a named one (see named_blob.h)
// around
//   algorithm (1: RSA-OAEP-256, 2: A256KW) | length and text of the vault's key version |
//   length (2 bytes, big-endian) and bytes of the wrapped KEK | nonce, 12 bytes | ciphertext | tag
// and the additional data is "betrace-kms azure 1\n" KID "\n" canonical JSON of the context, where
// KID is the key's identifier in small letters, with the version. That version is asked to unwrap,
// however many came later.
#pragma once

#include <memory>

#include "betrace/kms/provider.h"

namespace betrace::kms {

struct ProviderEnvironment;

// Settings: azure.keyvault.…, see read_azure_settings(). Asks nobody: it logs in at the first call.
// Errors: invalid_argument.
Result<std::unique_ptr<Provider>> make_azure_provider(const ProviderEnvironment& environment);

}  // namespace betrace::kms
