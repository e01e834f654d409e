// The file that holds the master key of the `local` provider: 32 bytes, mode 0600, made once.
// However many processes start at once on an empty folder, all end up with the same key, and a
// crash leaves either no file or a whole one.
#pragma once

#include <string>

#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

// Reads the key at `path`, or makes it where there is none and `may_create`. A file that others may
// read is used and warned about.
// Errors, all invalid_argument and naming the file: absent and not to be made, not 32 bytes, not a
// plain file, not readable, not writable.
Result<SecretBytes> open_master_key(const std::string& path, bool may_create);

}  // namespace betrace::kms
