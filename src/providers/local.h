// The provider for development and for first steps: wraps under a 32-byte master key in a file,
// in this process. Needs nothing else, and protects against nobody who can read that file.
//
// A blob is: format (1 byte, 0x01), master key id (8), nonce (12), AES-256-GCM ciphertext and tag,
// with the RFC 8785 form of the encryption context as associated data.
#pragma once

#include <memory>

#include "betrace/kms/provider.h"

namespace betrace::kms {

struct ProviderEnvironment;

// Setting: betrace.kms.local.master-key-file, default local-master.key; a relative path is in the
// data directory. Errors: invalid_argument, see open_master_key().
Result<std::unique_ptr<Provider>> make_local_provider(const ProviderEnvironment& environment);

}  // namespace betrace::kms
