// Starts a connection that then lives by itself. One source file each, because each compiles the
// whole session for its kind of socket.
#pragma once

#include <boost/asio/ssl/context.hpp>

#include "net/server_core.h"

namespace betrace::kms {

void start_plain_session(Accepted accepted);
void start_tls_session(Accepted accepted, boost::asio::ssl::context& context);

}  // namespace betrace::kms
