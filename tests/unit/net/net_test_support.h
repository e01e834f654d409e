// What the tests of this room share: an application that answers by path, a client that speaks in
// raw bytes, a server of scripted bytes. All on loopback, ports chosen by the system.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/http.h"
#include "net/http_server.h"

namespace betrace::kms::test {

// Up to 20 s, so that a slow machine does not fail; answers whether it came true.
bool eventually(const std::function<bool()>& condition);

// Fakes the router. /echo answers the body, /describe the request, /later waits for release(),
// /drop never answers, /throw throws, /bytes?N answers N bytes, /evil headers that try to break
// out, /small takes 16 bytes, /none answers 204.
class TestApplication final : public HttpApplication {
 public:
  Limits limits(const Request& head) const override;
  void handle(Reply reply) override;
  Response refuse(ErrorCode code, std::string_view detail) override;

  std::size_t waiting() const;
  // Answers what waits in /later, from the calling thread.
  void release();

 private:
  mutable std::mutex mutex_;
  std::vector<Reply> later_;
};

struct RawAnswer {
  int status = 0;  // 0: none came
  Headers headers;
  std::string body;
  std::string header(std::string_view lower_case_name) const;
};

class RawClient {
 public:
  explicit RawClient(std::uint16_t port);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // False when the peer does not take it.
  bool send(std::string_view bytes);
  void end_of_input();  // ours: the peer sees it
  void reset();         // closes with RST
  // One answer, of one to a HEAD when `head` is set; status 0 when the connection ends first.
  RawAnswer receive(bool head = false);
  // Whether the peer has closed, having sent nothing more.
  bool ended();

 private:
  bool fill();
  int descriptor_;
  std::string input_;
};

std::string post(std::string_view path, std::string_view body, std::string_view more_headers = "");
std::string get(std::string_view path, std::string_view more_headers = "");

// A server of the test's own that gives every connection `answer` once a request has come, then
// closes it.
class ScriptedServer {
 public:
  struct Script {
    std::string answer;
    bool close = true;        // else it waits for the client to close
    std::string unix_socket;  // a path, instead of a port
  };
  explicit ScriptedServer(Script script);
  ~ScriptedServer();
  std::uint16_t port() const { return port_; }
  // Head and body as they came, after at least one connection was answered.
  std::string last_request();

 private:
  void run();
  const Script script_;
  int descriptor_;
  std::uint16_t port_ = 0;
  std::mutex mutex_;
  std::condition_variable answered_;
  std::string last_request_;
  std::jthread thread_;
};

// A running server over a TestApplication.
struct Running {
  explicit Running(HttpServerOptions options = {});
  TestApplication application;
  std::unique_ptr<HttpServer> server;
  std::uint16_t port() const { return server->port(); }
};

}  // namespace betrace::kms::test
