// What the listeners and connections of one server share. Owned by the server and by each of its
// connections, since an application may hold a Reply longer than the server lives. Thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <shared_mutex>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>

#include "net/connection_registry.h"
#include "net/http_server.h"

namespace betrace::kms {

// Named in full, so that no call goes through a type-erased executor.
using IoExecutor = boost::asio::io_context::executor_type;
using TcpSocket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, IoExecutor>;
using IoError = boost::system::error_code;

struct ServerCore {
  ServerCore(HttpServerOptions given, HttpApplication& served)
      : options(std::move(given)), application(served) {}

  // Runs `job` on an I/O thread. After close() the job is dropped, not run.
  template <class Job>
  void post(Job&& job) {
    const std::shared_lock lock(posting);
    if (!closed) boost::asio::post(io, std::forward<Job>(job));
  }
  // No I/O thread runs any more, and nothing must be left in `io` that would keep this alive.
  void close() {
    {
      const std::unique_lock lock(posting);
      closed = true;
    }
    io.restart();
    io.poll();
  }

  boost::asio::io_context io;
  const HttpServerOptions options;
  HttpApplication& application;
  ConnectionRegistry connections;
  std::atomic<bool> draining{false};
  std::shared_mutex posting;
  std::atomic<bool> closed{false};
};

// One line in the log; here because the log's header is heavy.
void log_failed_request(const char* what);

struct Accepted {
  std::shared_ptr<ServerCore> core;
  TcpSocket socket;
  bool peer_is_loopback = false;
};

}  // namespace betrace::kms
