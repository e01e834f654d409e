// Who is asking: the bearer of the admin token, or nobody in particular where the route and
// betrace.admin.anonymous allow that. Stateless, thus thread-safe.
#pragma once

#include <optional>
#include <string_view>

#include "api/api.h"
#include "api/route.h"
#include "base/http.h"

namespace betrace::kms {

// Errors: unauthenticated; the message says where the token is found.
Result<Principal::Kind> authenticate(const Request& request, Permission permission,
                                     const ApiSettings& settings);

// Whether the request carries the admin token.
bool has_admin_token(const Request& request, const ApiSettings& settings);

// What shows that a request was not made on this machine for this service, e.g. "the header
// X-Forwarded-For". Nothing when it was.
std::optional<std::string> sign_of_remoteness(const Request& request);

}  // namespace betrace::kms
