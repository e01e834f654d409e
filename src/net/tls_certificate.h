// What a certificate file says of itself.
#pragma once

#include <string>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

// When the first certificate of a PEM file ends. Errors: invalid_argument.
Result<SystemTime> certificate_end(const std::string& file);

}  // namespace betrace::kms
