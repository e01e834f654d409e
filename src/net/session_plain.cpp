#include <boost/asio/write.hpp>

#include "net/session_impl.h"
#include "net/sessions.h"

namespace betrace::kms {
namespace {

class PlainTransport {
 public:
  static constexpr bool encrypted = false;
  explicit PlainTransport(TcpSocket socket) : socket_(std::move(socket)) {
    boost::system::error_code ignored;
    socket_.non_blocking(true, ignored);
  }

  TcpSocket& socket() { return socket_; }

  template <class Handler>
  void async_read_some(boost::asio::mutable_buffer room, Handler&& handler) {
    socket_.async_read_some(room, std::forward<Handler>(handler));
  }

  // As much as the peer has room for.
  template <std::size_t n>
  std::size_t write_now(const std::array<boost::asio::const_buffer, n>& pieces,
                        boost::system::error_code& error) {
    const auto count = pieces.back().size() == 0 ? socket_.write_some(pieces[0], error)
                                                 : socket_.write_some(pieces, error);
    if (error == boost::asio::error::would_block) error = {};
    return count;
  }

  template <class Buffers, class Handler>
  void async_write(const Buffers& pieces, Handler&& handler) {
    boost::asio::async_write(socket_, pieces, std::forward<Handler>(handler));
  }

 private:
  TcpSocket socket_;
};

}  // namespace

void start_plain_session(Accepted accepted) {
  PlainTransport transport(std::move(accepted.socket));
  std::make_shared<Session<PlainTransport>>(std::move(accepted), std::move(transport))->start();
}

}  // namespace betrace::kms
