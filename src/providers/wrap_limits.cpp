#include "providers/wrap_limits.h"

#include <fmt/format.h>

#include "base/encoding.h"

namespace betrace::kms {

Status check_wrap_context(const EncryptionContext& context) {
  for (const auto& [name, value] : context) {
    if (!is_valid_utf8(name)) {
      return fail(ErrorCode::invalid_argument,
                  "encryption context: a name is not valid UTF-8; names and values are UTF-8 text");
    }
    if (!is_valid_utf8(value)) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("encryption context: the value of '{}' is not valid UTF-8; names and "
                              "values are UTF-8 text",
                              name));
    }
  }
  return {};
}

Status check_wrap_size(std::size_t plaintext_bytes) {
  if (plaintext_bytes >= 1 && plaintext_bytes <= wrap_bytes_max) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("plaintext: {} bytes; a master key wraps 1 to {} bytes", plaintext_bytes,
                          wrap_bytes_max));
}

}  // namespace betrace::kms
