// The OpenAPI 3.1 document of the service, openapi.json as it was at build time.
#pragma once

#include <string_view>

namespace betrace::kms {

std::string_view openapi_document();

}  // namespace betrace::kms
