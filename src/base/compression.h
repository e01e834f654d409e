// Bodies as HTTP compresses them (RFC 9110, section 8.4.1; zstd: RFC 8878). Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "betrace/kms/result.h"

namespace betrace::kms {

// `encoding` is the header Content-Encoding: gzip, zstd, identity or empty. Several gzip members
// and zstd frames in a row are one body. Errors: invalid_argument for another encoding and for what
// is cut off, damaged or followed by something else; payload_too_large beyond `bytes_max`.
Result<std::string> decompress(std::string_view encoding, std::string_view body,
                               std::size_t bytes_max);

std::string gzip(std::string_view body);

}  // namespace betrace::kms
