// A key of an HSM as master key, by any PKCS#11 module of version 2.40 or later: CKM_AES_GCM under
// an AES-256 key that is found by its label, with the encryption context's canonical JSON as
// additional data. Data keys and nonces are random bytes of the token.
//
// A blob is a named one (see named_blob.h) around nonce (12 bytes) | ciphertext | tag (16 bytes).
#pragma once

#include <memory>

#include "betrace/kms/provider.h"

namespace betrace::kms {

struct ProviderEnvironment;

// Settings: pkcs11.…, see read_pkcs11_settings(). The module is loaded at the first call.
// Errors: invalid_argument.
Result<std::unique_ptr<Provider>> make_pkcs11_provider(const ProviderEnvironment& environment);

}  // namespace betrace::kms
