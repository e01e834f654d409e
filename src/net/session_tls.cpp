#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>

#include "net/session_impl.h"
#include "net/sessions.h"

namespace betrace::kms {
namespace {

class TlsTransport {
 public:
  static constexpr bool encrypted = true;
  TlsTransport(TcpSocket socket, boost::asio::ssl::context& context)
      : stream_(std::move(socket), context) {}

  TcpSocket& socket() { return stream_.next_layer(); }

  template <class Handler>
  void async_handshake(Handler&& handler) {
    stream_.async_handshake(boost::asio::ssl::stream_base::server, std::forward<Handler>(handler));
  }

  template <class Handler>
  void async_read_some(boost::asio::mutable_buffer room, Handler&& handler) {
    stream_.async_read_some(room, std::forward<Handler>(handler));
  }

  template <class Buffers, class Handler>
  void async_write(const Buffers& pieces, Handler&& handler) {
    boost::asio::async_write(stream_, pieces, std::forward<Handler>(handler));
  }

  // Says the last word without waiting for the peer's: what the peer still sends is dropped below
  // the TLS layer.
  template <class Handler>
  void async_close_notify(Handler&& handler) {
    auto* tls = stream_.native_handle();
    SSL_set_shutdown(tls, SSL_get_shutdown(tls) | SSL_RECEIVED_SHUTDOWN);
    stream_.async_shutdown(std::forward<Handler>(handler));
  }

 private:
  boost::asio::ssl::stream<TcpSocket> stream_;
};

}  // namespace

void start_tls_session(Accepted accepted, boost::asio::ssl::context& context) {
  TlsTransport transport(std::move(accepted.socket), context);
  std::make_shared<Session<TlsTransport>>(std::move(accepted), std::move(transport))->start();
}

}  // namespace betrace::kms
