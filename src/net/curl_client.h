// The HTTP client of the tree: libcurl's easy handles in a small pool, so that connections, TLS
// sessions and names already resolved are used again. HTTP/1.1, http and https only, redirects
// handed to the caller, certificates verified, proxies from the environment except for loopback
// and link-local addresses. Memory that libcurl frees is wiped first.
//
// A call to be signed for AWS must leave to libcurl what it signs: no header X-Amz-Date,
// Authorization, Host, User-Agent, Expect or Accept, and no header name that begins with another's.
// Such a call is refused, since the service would only answer that the signature is wrong.
#pragma once

#include <memory>

#include "base/http.h"

namespace betrace::kms {

std::unique_ptr<HttpClient> make_http_client();

}  // namespace betrace::kms
