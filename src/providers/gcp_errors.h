// Google's refusals in our vocabulary (google.aip.dev/193): by `error.status`, which tells apart
// what shares an HTTP status; the message is Google's own, word for word. Thread-safe.
#pragma once

#include <string_view>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"

#include "base/http.h"

namespace betrace::kms {

// The error that `answer`, of a status other than 200, stands for. `purpose`: "decrypt".
Error classify_gcp_error(const HttpAnswer& answer, std::string_view purpose, SystemTime now);

// Google refused the token itself as old or unknown.
bool refuses_token(const Error& error);

}  // namespace betrace::kms
