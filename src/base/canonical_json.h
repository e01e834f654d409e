// RFC 8785 (JSON Canonicalization Scheme): fields sorted by UTF-16 code units, minimal escapes,
// numbers as ECMAScript writes them, no white space. The one form in which an encryption context,
// or a compliance span, is bytes. Pure functions. Strings must be valid UTF-8.
#pragma once

#include <string>
#include <string_view>

#include <boost/json/fwd.hpp>

#include "betrace/kms/key.h"
#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

std::string canonical_json(const EncryptionContext& context);
// Of any value that JsonDocument takes; appended.
void append_canonical_json(const boost::json::value& value, WipedString& out);
// The order of the fields of an object.
bool canonical_less(std::string_view a, std::string_view b);

// Appends `text` as a JSON string with RFC 8785's escapes.
void append_json_string(std::string_view text, std::string& out);
void append_json_string(std::string_view text, WipedString& out);

}  // namespace betrace::kms
