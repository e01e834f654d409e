// Accepts connections on one address and hands them on; waits a moment when the process has run
// out of descriptors, instead of spinning. Thread-safe; keeps itself alive until close().
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_waitable_timer.hpp>

#include "net/server_core.h"

namespace betrace::kms {

class Listener : public std::enable_shared_from_this<Listener> {
 public:
  struct Options {
    std::string host;
    std::uint16_t port = 0;
    std::string_view port_key;  // the configuration key, for messages
  };
  using OnConnection = std::function<void(Accepted)>;

  // Errors: invalid_argument.
  static Result<std::shared_ptr<Listener>> open(std::shared_ptr<ServerCore> core,
                                                const Options& options, OnConnection on_connection);
  explicit Listener(std::shared_ptr<ServerCore> core, OnConnection on_connection);

  std::uint16_t port() const { return port_; }
  void start();
  void close();

 private:
  using Tcp = boost::asio::ip::tcp;
  using Acceptor = boost::asio::basic_socket_acceptor<Tcp, IoExecutor>;
  using Timer = boost::asio::basic_waitable_timer<
      std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, IoExecutor>;

  IoError listen_on(const Tcp::endpoint& endpoint);
  void accept();
  void on_accept(IoError error, TcpSocket socket);
  void rest();

  const std::shared_ptr<ServerCore> core_;
  const OnConnection on_connection_;
  std::mutex mutex_;  // of what follows: close() comes from any thread
  Acceptor acceptor_;
  Timer pause_;
  Tcp::endpoint peer_;
  bool closed_ = false;
  bool resting_ = false;
  std::uint16_t port_ = 0;
};

}  // namespace betrace::kms
