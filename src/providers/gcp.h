// Google Cloud KMS as a provider: encrypt, decrypt, generateRandomBytes and the key's description
// by REST v1 (cloud.google.com/kms/docs/reference/rest). The encryption context goes as
// `additionalAuthenticatedData`, its canonical JSON; CRC32C goes along both ways, so that a bit
// that is lost on the way or in Google's memory is noticed.
//
// Google has no call for data keys: their bytes come from its generateRandomBytes (of HSMs) where
// the location has it and we may, else from the operating system. A blob is a named one (see
// named_blob.h) around Google's ciphertext.
#pragma once

#include <memory>

#include "betrace/kms/provider.h"

namespace betrace::kms {

struct ProviderEnvironment;

// Settings: gcp.kms.…, see read_gcp_settings(). Asks nobody: it logs in at the first call.
// Errors: invalid_argument.
Result<std::unique_ptr<Provider>> make_gcp_provider(const ProviderEnvironment& environment);

}  // namespace betrace::kms
