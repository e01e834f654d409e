#include "unit/net/net_test_support.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace betrace::kms::test {
namespace {

int status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::request_timeout:
      return 408;
    case ErrorCode::payload_too_large:
      return 413;
    case ErrorCode::header_too_large:
      return 431;
    case ErrorCode::overloaded:
      return 503;
    default:
      return 400;
  }
}

std::size_t number(std::string_view text) {
  std::size_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool is_complete(std::string_view request) {
  const auto head = request.find("\r\n\r\n");
  if (head == std::string_view::npos) return false;
  const auto length = request.find("Content-Length: ");
  return length >= head || request.size() >= head + 4 + number(request.substr(length + 16));
}

std::string describe(const Request& request) {
  auto out =
      fmt::format("{} {} path={} query={} loopback={} tls={}\n", request.method, request.target,
                  request.path, request.query, request.peer_is_loopback, request.tls);
  for (const auto& [name, value] : request.headers) out += fmt::format("{}={}\n", name, value);
  return out + "body=" + std::string(std::string_view(request.body));
}

}  // namespace

bool eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

HttpApplication::Limits TestApplication::limits(const Request& head) const {
  return {.body_bytes_max = head.path == "/small" ? std::size_t{16} : std::size_t{1} << 20};
}

void TestApplication::handle(Reply reply) {
  const auto& request = reply.request();
  Response response;
  response.content_type = "text/plain";
  if (request.path == "/later") {
    const std::lock_guard lock(mutex_);
    later_.push_back(std::move(reply));
    return;
  }
  if (request.path == "/drop") return;
  if (request.path == "/throw") throw std::runtime_error("thrown on purpose");
  if (request.path == "/describe") {
    response.body = describe(request);
  } else if (request.path == "/bytes") {
    response.body.assign(number(request.query), 'x');
  } else if (request.path == "/none") {
    response.status = 204;
  } else if (request.path == "/evil") {
    response.headers = {{"X-Value", "a\r\nX-Injected: 1"},
                        {"X-Name: 1\r\nX-Injected", "2"},
                        {"Content-Length", "1"},
                        {"X-Fine", "yes"}};
  } else {
    response.body = request.body;
  }
  reply.send(std::move(response));
}

Response TestApplication::refuse(ErrorCode code, std::string_view detail) {
  Response response;
  response.status = status_of(code);
  response.content_type = "application/problem+json";
  response.body = detail;
  return response;
}

std::size_t TestApplication::waiting() const {
  const std::lock_guard lock(mutex_);
  return later_.size();
}

void TestApplication::release() {
  std::vector<Reply> replies;
  {
    const std::lock_guard lock(mutex_);
    replies.swap(later_);
  }
  for (auto& reply : replies) {
    Response response;
    response.body = reply.request().body;
    reply.send(std::move(response));
  }
}

std::string RawAnswer::header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_case_name) return value;
  }
  return "";
}

RawClient::RawClient(std::uint16_t port) : descriptor_(::socket(AF_INET, SOCK_STREAM, 0)) {
  const timeval patience{.tv_sec = 20, .tv_usec = 0};
  ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(descriptor_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  const auto address = loopback(port);
  EXPECT_EQ(::connect(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
}

RawClient::~RawClient() { ::close(descriptor_); }

bool RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto count = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

void RawClient::end_of_input() { ::shutdown(descriptor_, SHUT_WR); }

void RawClient::reset() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  ::close(std::exchange(descriptor_, -1));
}

bool RawClient::fill() {
  char piece[65536];
  const auto count = ::recv(descriptor_, piece, sizeof piece, 0);
  if (count <= 0) return false;
  input_.append(piece, static_cast<std::size_t>(count));
  return true;
}

RawAnswer RawClient::receive(bool head) {
  RawAnswer answer;
  std::size_t end = std::string::npos;
  while ((end = input_.find("\r\n\r\n")) == std::string::npos) {
    if (!fill()) return answer;
  }
  std::string_view text(input_.data(), end + 2);
  std::string_view status_line = text.substr(0, text.find("\r\n"));
  text.remove_prefix(status_line.size() + 2);
  while (!text.empty()) {
    const auto line = text.substr(0, text.find("\r\n"));
    const auto colon = line.find(": ");
    answer.headers.emplace_back(lower(line.substr(0, colon)), line.substr(colon + 2));
    text.remove_prefix(line.size() + 2);
  }
  const auto status = static_cast<int>(number(status_line.substr(9, 3)));
  const auto length = head ? 0 : number(answer.header("content-length"));
  while (input_.size() < end + 4 + length) {
    if (!fill()) return answer;
  }
  answer.body = input_.substr(end + 4, length);
  answer.status = status;
  input_.erase(0, end + 4 + length);
  return answer;
}

bool RawClient::ended() {
  char byte = 0;
  return input_.empty() && ::recv(descriptor_, &byte, 1, 0) == 0;
}

std::string post(std::string_view path, std::string_view body, std::string_view more_headers) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{}\r\n{}", path,
                     body.size(), more_headers, body);
}

std::string get(std::string_view path, std::string_view more_headers) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", path, more_headers);
}

ScriptedServer::ScriptedServer(Script script)
    : script_(std::move(script)),
      descriptor_(::socket(script_.unix_socket.empty() ? AF_INET : AF_UNIX, SOCK_STREAM, 0)) {
  if (script_.unix_socket.empty()) {
    auto address = loopback(0);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(descriptor_, reinterpret_cast<const sockaddr*>(&address), size), 0);
    ::getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  } else {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    script_.unix_socket.copy(address.sun_path, sizeof address.sun_path - 1);
    ::unlink(script_.unix_socket.c_str());
    EXPECT_EQ(::bind(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  EXPECT_EQ(::listen(descriptor_, 16), 0);
  thread_ = std::jthread([this] { run(); });
}

ScriptedServer::~ScriptedServer() {
  ::shutdown(descriptor_, SHUT_RDWR);
  thread_.join();
  ::close(descriptor_);
}

void ScriptedServer::run() {
  for (;;) {
    const int connection = ::accept(descriptor_, nullptr, nullptr);
    if (connection < 0) return;
    std::string request;
    char piece[4096];
    while (!is_complete(request)) {
      const auto count = ::recv(connection, piece, sizeof piece, 0);
      if (count <= 0) break;
      request.append(piece, static_cast<std::size_t>(count));
    }
    ::send(connection, script_.answer.data(), script_.answer.size(), MSG_NOSIGNAL);
    {
      const std::lock_guard lock(mutex_);
      last_request_ = request;
    }
    answered_.notify_all();
    while (!script_.close && ::recv(connection, piece, sizeof piece, 0) > 0) {
    }
    ::close(connection);
  }
}

std::string ScriptedServer::last_request() {
  std::unique_lock lock(mutex_);
  answered_.wait_for(lock, std::chrono::seconds(20), [this] { return !last_request_.empty(); });
  return last_request_;
}

Running::Running(HttpServerOptions options) {
  options.port = 0;
  auto started = HttpServer::start(std::move(options), application);
  if (!started) throw std::runtime_error(started.error().message);
  server = std::move(*started);
}

}  // namespace betrace::kms::test
