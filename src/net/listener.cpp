#include "net/listener.h"

#include <algorithm>

#include <boost/asio/ip/v6_only.hpp>
#include <fmt/format.h>

#include "base/try.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

using Tcp = boost::asio::ip::tcp;

bool is_loopback(const boost::asio::ip::address& address) {
  if (address.is_v4()) return address.is_loopback();
  const auto v6 = address.to_v6();
  if (!v6.is_v4_mapped()) return v6.is_loopback();
  return make_address_v4(boost::asio::ip::v4_mapped, v6).is_loopback();
}

// IPv4 first, as Java does for a name that has both.
Result<std::vector<Tcp::endpoint>> resolve(boost::asio::io_context& io,
                                           const Listener::Options& options) {
  IoError error;
  const auto address = boost::asio::ip::make_address(options.host, error);
  if (!error) return std::vector{Tcp::endpoint(address, options.port)};
  const auto found =
      Tcp::resolver(io).resolve(options.host, "", boost::asio::ip::resolver_base::passive, error);
  if (error) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("cannot listen on '{}': {}; set quarkus.http.host to an address of "
                            "this machine",
                            options.host, error.message()));
  }
  std::vector<Tcp::endpoint> endpoints;
  for (const auto& each : found) {
    endpoints.emplace_back(each.endpoint().address(), options.port);
  }
  std::ranges::stable_partition(endpoints, [](const auto& each) { return each.address().is_v4(); });
  return endpoints;
}

std::string advice(const IoError& error, std::string_view port_key) {
  if (error == boost::asio::error::address_in_use) {
    return fmt::format("is another betrace-kms running? Set {}", port_key);
  }
  if (error == boost::asio::error::access_denied) {
    return fmt::format("ports below 1024 take a privilege. Set {}", port_key);
  }
  return "set quarkus.http.host to an address of this machine";
}

}  // namespace

Listener::Listener(std::shared_ptr<ServerCore> core, OnConnection on_connection)
    : core_(std::move(core)),
      on_connection_(std::move(on_connection)),
      acceptor_(core_->io),
      pause_(core_->io) {}

Result<std::shared_ptr<Listener>> Listener::open(std::shared_ptr<ServerCore> core,
                                                 const Options& options,
                                                 OnConnection on_connection) {
  const auto endpoints = TRY(resolve(core->io, options));
  auto listener = std::make_shared<Listener>(std::move(core), std::move(on_connection));
  IoError error;
  for (const auto& endpoint : endpoints) {
    error = listener->listen_on(endpoint);
    if (!error) return listener;
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("cannot listen on {}:{}: {}; {}", options.host, options.port,
                          error.message(), advice(error, options.port_key)));
}

IoError Listener::listen_on(const Tcp::endpoint& endpoint) {
  IoError error;
  IoError ignored;
  acceptor_.close(ignored);
  acceptor_.open(endpoint.protocol(), error);
  if (error) return error;
  acceptor_.set_option(boost::asio::socket_base::reuse_address(true), ignored);
  // Linux hands it down to what is accepted.
  acceptor_.set_option(Tcp::no_delay(true), ignored);
  if (endpoint.address().is_v6()) {
    acceptor_.set_option(boost::asio::ip::v6_only(false), ignored);
  }
  acceptor_.bind(endpoint, error);
  if (error) return error;
  acceptor_.listen(boost::asio::socket_base::max_listen_connections, error);
  if (error) return error;
  port_ = acceptor_.local_endpoint(error).port();
  return error;
}

void Listener::start() {
  const std::lock_guard lock(mutex_);
  accept();
}

void Listener::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  IoError ignored;
  acceptor_.close(ignored);
  pause_.cancel();
}

void Listener::accept() {
  if (closed_) return;
  acceptor_.async_accept(core_->io.get_executor(), peer_,
                         [self = shared_from_this()](IoError error, TcpSocket socket) {
                           self->on_accept(error, std::move(socket));
                         });
}

void Listener::on_accept(IoError error, TcpSocket socket) {
  namespace errc = boost::system::errc;
  if (!error) {
    on_connection_({.core = core_,
                    .socket = std::move(socket),
                    .peer_is_loopback = is_loopback(peer_.address())});
  }
  const bool exhausted = error == errc::too_many_files_open ||
                         error == errc::too_many_files_open_in_system ||
                         error == errc::no_buffer_space || error == errc::not_enough_memory;
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  if (exhausted && !resting_) {  // said once, not four times a second
    logger(log_category::kms).error("cannot accept connections: {}", error.message());
  }
  resting_ = exhausted;
  if (exhausted) {
    rest();
  } else {
    accept();
  }
}

void Listener::rest() {
  pause_.expires_after(std::chrono::milliseconds(250));
  pause_.async_wait([self = shared_from_this()](IoError) {
    const std::lock_guard lock(self->mutex_);
    self->accept();
  });
}

}  // namespace betrace::kms
