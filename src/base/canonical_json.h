// RFC 8785 (JSON Canonicalization Scheme) of maps from strings to strings: sorted by UTF-16 code
// units, minimal escapes, no white space. The one form in which an encryption context is bytes.
#pragma once

#include <string>
#include <string_view>

#include "betrace/kms/key.h"

namespace betrace::kms {

// All strings must be valid UTF-8.
std::string canonical_json(const EncryptionContext& context);

// Appends `text` as a JSON string with RFC 8785's escapes.
void append_json_string(std::string_view text, std::string& out);

}  // namespace betrace::kms
