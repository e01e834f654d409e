// java.util.Properties' file format, with two departures that people rely on: a trailing comment
// (blank, '#') is cut off a value and said, and `\${` keeps its backslash, so that an expression
// can be escaped. UTF-8 in and out. Thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/result.h"

namespace betrace::kms {

struct Property {
  std::string key;
  std::string value;
  int line = 0;              // of the key
  bool comment_cut = false;  // a trailing comment was cut off the value
};

// In the order of the file; a key may come twice. Errors: invalid_argument names the line of a
// malformed \u escape.
Result<std::vector<Property>> parse_properties(std::string_view text);

}  // namespace betrace::kms
