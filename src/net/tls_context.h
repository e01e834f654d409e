// OpenSSL's server side: TLS 1.2 and later, HTTP/1.1 by ALPN, certificate and key from PEM files.
#pragma once

#include <memory>

#include <boost/asio/ssl/context.hpp>

#include "net/http_server.h"

namespace betrace::kms {

// Errors: invalid_argument, naming the file, what is wrong with it and the key to set.
Result<std::shared_ptr<boost::asio::ssl::context>> make_tls_context(const TlsOptions& options);

}  // namespace betrace::kms
