// Key Vault's refusals in our vocabulary, by `error.code` and `error.innererror.code`; the message
// is Azure's own, word for word, on one line. Thread-safe.
#pragma once

#include <string_view>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"

#include "base/http.h"

namespace betrace::kms {

// The error that `answer`, of a status other than 200, stands for. `purpose`: "decrypt".
Error classify_azure_error(const HttpAnswer& answer, std::string_view purpose, SystemTime now);

}  // namespace betrace::kms
