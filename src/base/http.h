// HTTP as the rest of the tree sees it, on both sides: what a client sends and gets, what a server
// hands to the application and takes back. The libraries that move the bytes stay in net/.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/error.h"
#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

using Headers = std::vector<std::pair<std::string, std::string>>;

// --- client -------------------------------------------------------------------------------------

// AWS Signature Version 4. An empty session token is left out.
struct AwsSigning {
  std::string region, service;
  std::string access_key_id;
  WipedString secret_access_key, session_token;
};

struct HttpCall {
  std::string method = "GET";
  std::string url;
  Headers headers;
  WipedString body;
  std::optional<AwsSigning> aws;
  std::chrono::milliseconds timeout{5000};  // of the whole call
  std::size_t answer_bytes_max = 1 << 20;
  std::string ca_file;                         // PEM; empty: the system's
  std::string client_certificate, client_key;  // PEM files; empty: none
  std::string unix_socket;
  // Handed on in `traceparent` and `tracestate`, unless the call is signed for AWS: libcurl signs
  // every header, and a proxy that sets its own span would break the signature.
  TraceContext trace = {};
};

// How long each phase took, cumulated from the start of the call.
struct HttpPhases {
  std::chrono::microseconds resolve{}, connect{}, tls{}, first_byte{}, total{};
};

struct HttpAnswer {
  int status = 0;
  Headers headers;  // names in lower case
  WipedString body;
  HttpPhases phases;
  std::string_view header(std::string_view lower_case_name) const;  // empty when absent
};

// The header of that name (W3C Trace Context, section 3.2); `trace` is valid.
std::string traceparent(const TraceContext& trace);

class HttpClient {
 public:
  virtual ~HttpClient() = default;
  // Any complete answer is a success, whatever its status. Thread-safe; keeps connections alive.
  // Errors: kms_timeout; kms_unavailable for everything else, the message says what (resolve,
  // connect, TLS, answer too large, cut short).
  virtual Result<HttpAnswer> send(const HttpCall& call) = 0;
};

// --- server -------------------------------------------------------------------------------------

// Valid until its Reply has been sent.
struct Request {
  std::string_view method;  // "GET"
  std::string_view target;  // as sent: "/api/tenants?limit=2"
  std::string_view path;    // before '?', not decoded
  std::string_view query;   // after '?', not decoded
  std::span<const std::pair<std::string_view, std::string_view>> headers;
  WipedString body;
  bool peer_is_loopback = false;
  bool tls = false;
  std::chrono::steady_clock::time_point received_at;
  // Case-insensitive; the first of that name, empty when absent.
  std::string_view header(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string_view content_type = "application/json";  // of static lifetime
  Headers headers;
  WipedString body;
};

// The one right to answer a request. Move-only; may be completed later, from any thread. Dropped
// unanswered, it answers 500.
class Reply {
 public:
  class Connection {
   public:
    virtual ~Connection() = default;
    virtual const Request& request() const = 0;
    virtual void send(Response response) = 0;
  };
  Reply() = default;
  explicit Reply(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  Reply(Reply&&) = default;
  Reply& operator=(Reply&&) = default;
  ~Reply();

  const Request& request() const { return connection_->request(); }
  void send(Response response) { std::exchange(connection_, nullptr)->send(std::move(response)); }

 private:
  std::shared_ptr<Connection> connection_;
};

// What the server serves. Called on the I/O threads: must not block.
class HttpApplication {
 public:
  struct Limits {
    std::size_t body_bytes_max = 1 << 20;
  };
  virtual ~HttpApplication() = default;
  // Asked when the head is there and the body is not.
  virtual Limits limits(const Request& head) const = 0;
  virtual void handle(Reply reply) = 0;
  // The answer to a request that never became one: malformed_json is never used here;
  // invalid_argument, request_timeout, payload_too_large, header_too_large, overloaded.
  virtual Response refuse(ErrorCode code, std::string_view detail) = 0;
};

}  // namespace betrace::kms
