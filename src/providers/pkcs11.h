// A key of an HSM as master key, by any PKCS#11 module of version 2.40 or later: CKM_AES_GCM under
// an AES-256 key that is found by its label, with the encryption context's canonical JSON as
// additional data. Data keys and nonces are random bytes of the token.
//
// A blob is a named one (see named_blob.h) around what Pkcs11Gcm seals: nonce | ciphertext | tag.
#pragma once

#include <memory>

#include "betrace/kms/provider.h"

namespace betrace::kms {

struct ProviderEnvironment;

// Settings: pkcs11.…, see read_pkcs11_settings(). The module is loaded now and called at the first
// call of the provider, on threads of its own: one that hangs keeps nobody past a deadline.
// Errors: invalid_argument.
Result<std::unique_ptr<Provider>> make_pkcs11_provider(const ProviderEnvironment& environment);

}  // namespace betrace::kms
