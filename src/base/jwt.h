// JSON Web Tokens as a client signs them to log in (RFC 7523): RS256 and PS256 of RFC 7518,
// sections 3.3 and 3.5. Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

enum class JwtAlgorithm : std::uint8_t { rs256, ps256 };

// `header` and `claims` are JSON objects, the header names the algorithm; `private_key` is PEM of
// an RSA key of 2048 bits or more. Errors: invalid_argument, without any part of the key.
Result<WipedString> sign_jwt(std::string_view header, std::string_view claims,
                             const WipedString& private_key,
                             JwtAlgorithm algorithm = JwtAlgorithm::rs256);

// SHA-256 of the first certificate in `pem` (RFC 7515's x5t#S256). Errors: invalid_argument.
Result<std::array<std::uint8_t, 32>> certificate_thumbprint(std::string_view pem);

}  // namespace betrace::kms
