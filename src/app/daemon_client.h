// The way from a client command to the service: finds its address and the admin token, sends one
// request, turns an answer into a value or a sentence for the terminal. Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "betrace/kms/result.h"

#include "app/command_line.h"
#include "app/world.h"
#include "base/http.h"

namespace betrace::kms {

// What this machine's configuration says about its service.
struct LocalService {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;
  std::uint16_t ssl_port = 8443;
  bool insecure_allowed = true;
  std::string certificate_file;
  std::string data_dir = "data";
  WipedString admin_token;  // as configured; empty: the file in data_dir
};
// Reads it, when it is needed. Errors: invalid_argument, a sentence a line.
using LocalServiceReader = std::function<Result<LocalService>()>;

// As a name, without asking a resolver.
bool is_loopback_host(std::string_view host);

// "http://127.0.0.1:8080": where a client on this machine reaches the service.
std::string local_url(const LocalService& service);

struct Connection {
  std::string url;  // without a trailing slash
  std::string ca_file;
  WipedString token;          // empty: none was found
  std::string token_trouble;  // then why, naming the places that were looked at
};

// Order of the address: --url, BETRACE_KMS_URL, the configuration. Of the token: --token-file,
// ADMIN_TOKEN, the configuration, the token file in the data directory; the last two only for a
// service on this machine, so that its token never goes to another. Errors: invalid_argument.
Result<Connection> find_service(const ConnectionOptions& options, const World& world,
                                const LocalServiceReader& local);

class DaemonClient {
 public:
  DaemonClient(Connection connection, std::unique_ptr<HttpClient> http,
               std::chrono::milliseconds timeout);

  // Any answer of the service. Errors: kms_unavailable with a sentence that names the address.
  Result<HttpAnswer> send(std::string_view method, const std::string& path, WipedString body = {},
                          std::string_view accept = "application/json") const;
  const Connection& connection() const { return connection_; }

 private:
  Connection connection_;
  std::unique_ptr<HttpClient> http_;
  std::chrono::milliseconds timeout_;
};

}  // namespace betrace::kms
