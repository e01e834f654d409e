// Files and standard input as the commands take them.
#pragma once

#include <string>

#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

#include "app/world.h"

namespace betrace::kms {

// The whole of `file`, or of standard input when it is "-". Errors: invalid_argument names the file
// and the system's reason, or that it holds more than `bytes_max`.
Result<WipedString> read_input(const std::string& file, const World& world, std::size_t bytes_max);

// A text of one line: white space around it is dropped.
std::string_view trimmed(std::string_view text);

}  // namespace betrace::kms
