// The HTTP/1.1 server of the daemon: a plain and a TLS listener over one event loop on a few
// threads. It moves bytes, holds every limit on size, time and number, and hands complete requests
// to the HttpApplication; what never becomes a request is answered through its refuse().
// Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/http.h"

namespace betrace::kms {

enum class ClientAuth : std::uint8_t { none, request, required };

struct TlsOptions {
  std::uint16_t port = 8443;     // 0: any
  std::string certificate_file;  // PEM, the chain, the server's own first
  std::string key_file;          // PEM, without a passphrase
  ClientAuth client_auth = ClientAuth::none;
  std::string client_ca_file;  // PEM; whom client certificates must come from
};

struct HttpServerOptions {
  std::string host = "127.0.0.1";  // an address or a name
  bool plain = true;
  std::uint16_t port = 8080;  // 0: any
  std::optional<TlsOptions> tls;
  std::size_t io_threads = 2;
  std::size_t connections_max = 10000;
  std::size_t header_bytes_max = 16 * 1024;
  std::chrono::milliseconds head_timeout{10'000};   // from its first byte; also of a handshake
  std::chrono::milliseconds body_timeout{30'000};   // from the end of the head
  std::chrono::milliseconds write_timeout{30'000};  // of a whole answer
  std::chrono::milliseconds idle_timeout{60'000};   // between requests
  std::chrono::milliseconds linger_timeout{2'000};  // for the peer to read a last answer
};

class HttpServer {
 public:
  // Listens when it returns. `application` must outlive the server.
  // Errors: invalid_argument, the message says which address or file and what to set.
  static Result<std::unique_ptr<HttpServer>> start(HttpServerOptions options,
                                                   HttpApplication& application);
  // As stop() without grace.
  ~HttpServer();

  std::uint16_t port() const;      // 0 without a plain listener
  std::uint16_t tls_port() const;  // 0 without a TLS listener
  std::size_t connections() const;

  // Stops listening, closes idle connections, lets requests in flight finish with "Connection:
  // close", and cuts what is left after `grace`. A reply that comes later is dropped. Returns when
  // no thread of the server runs any more. Not for the server's own threads.
  void stop(std::chrono::milliseconds grace);

  // Reads the certificate, key and CA files again; connections made from now on get them. On error
  // the old ones stay. Errors: invalid_argument.
  Status reload_tls();

 private:
  class State;
  explicit HttpServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace betrace::kms
