// The limit that the daemon's HTTP rows stand beside: the least a server can do with Boost.Beast
// and still speak HTTP. Any request gets the same 200 with a body as long as the answer to a
// signature. Concrete executors, one parser and one buffer per connection, and the whole answer
// made once and sent by one write, which is tried on the spot before the event loop is asked.
//
//   empty_beast_server [port, default any] [threads, default 1]
//
// Prints the port, then serves until standard input ends or a signal comes.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <unistd.h>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using Executor = asio::io_context::executor_type;
using Socket = asio::basic_stream_socket<tcp, Executor>;
using Acceptor = asio::basic_socket_acceptor<tcp, Executor>;

static std::string make_answer() {
  const std::string body =
      R"({"keyId":"0192f3a4-5b6c-7d8e-9fa0-b1c2d3e4f506","version":1,"algorithm":"Ed25519",)"
      R"("signature":")" +
      std::string(86, 'A') + R"(=="})";
  return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}
static const std::string answer = make_answer();

class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(Socket socket) : socket_(std::move(socket)) {
    socket_.non_blocking(true);
    parser_.emplace();
  }

  void read() {
    socket_.async_read_some(
        buffer_.prepare(2048),
        [self = shared_from_this()](boost::system::error_code error, std::size_t count) {
          if (error) return;
          self->buffer_.commit(count);
          self->parse();
        });
  }

 private:
  void parse() {
    boost::system::error_code error;
    while (buffer_.size() > 0) {
      buffer_.consume(parser_->put(buffer_.data(), error));
      if (error == http::error::need_more) break;
      if (error) return;
      if (!parser_->is_done()) continue;
      parser_.emplace();
      if (!write()) return;
    }
    read();
  }

  bool write() {
    boost::system::error_code error;
    const auto count = socket_.write_some(asio::buffer(answer), error);
    if (!error && count == answer.size()) return true;
    if (error && error != asio::error::would_block) return false;
    asio::async_write(socket_, asio::buffer(answer) + count,
                      [self = shared_from_this()](boost::system::error_code failed, std::size_t) {
                        if (!failed) self->parse();
                      });
    return false;
  }

  Socket socket_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
};

static void accept(Acceptor& acceptor) {
  acceptor.async_accept([&](boost::system::error_code error, Socket socket) {
    if (!error) std::make_shared<Session>(std::move(socket))->read();
    accept(acceptor);
  });
}

int main(int argc, char** argv) {
  const auto port = static_cast<unsigned short>(argc > 1 ? std::atoi(argv[1]) : 0);
  const auto threads = argc > 2 ? std::atoi(argv[2]) : 1;
  asio::io_context io(threads);
  Acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), port));
  acceptor.set_option(tcp::no_delay(true));
  std::printf("%d\n", acceptor.local_endpoint().port());
  std::fflush(stdout);
  accept(acceptor);
  std::vector<std::thread> pool;
  for (int i = 0; i < threads; ++i) pool.emplace_back([&] { io.run(); });
  char ignored[64];
  while (::read(STDIN_FILENO, ignored, sizeof ignored) > 0) {
  }
  io.stop();
  for (auto& each : pool) each.join();
}
