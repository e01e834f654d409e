// Requests at a steady pace, and how long each took, counted from when it was due: a server that
// keeps one caller waiting is charged for those behind it as well. wrk cannot tell this, because
// its callers wait for the server before they ask again. Prints one JSON object when its standard
// input ends.
//
//   paced_client PORT RATE CONNECTIONS TOKEN_FILE PAYLOAD < tenants, one a line, then an empty line
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using Clock = std::chrono::steady_clock;

class Connection {
 public:
  explicit Connection(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    is_open_ = connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~Connection() { close(socket_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Whether the answer is a 200 with a signature in it. A connection that broke fails for good.
  bool ask(const std::string& request) {
    if (!is_open_) return false;
    is_open_ = send(socket_, request.data(), request.size(), MSG_NOSIGNAL) ==
               static_cast<ssize_t>(request.size());
    std::string answer;
    std::size_t whole = std::string::npos;
    std::array<char, 4096> buffer;
    while (is_open_ && answer.size() < whole) {
      const auto got = recv(socket_, buffer.data(), buffer.size(), 0);
      is_open_ = got > 0;
      if (!is_open_) break;
      answer.append(buffer.data(), static_cast<std::size_t>(got));
      if (whole == std::string::npos) whole = length_of(answer);
    }
    return is_open_ && answer.starts_with("HTTP/1.1 200") &&
           answer.find("\"signature\":\"") != std::string::npos;
  }

 private:
  static std::size_t length_of(const std::string& answer) {
    const auto head = answer.find("\r\n\r\n");
    const auto field = answer.find("Content-Length: ");
    if (head == std::string::npos || field > head) return std::string::npos;
    return head + 4 + std::strtoul(answer.c_str() + field + 16, nullptr, 10);
  }

  int socket_;
  bool is_open_ = false;
};

struct Outcome {
  std::vector<double> milliseconds;
  std::size_t failed = 0;
};

double at(const std::vector<double>& sorted, double part) {
  if (sorted.empty()) return 0;
  return sorted[static_cast<std::size_t>(part * static_cast<double>(sorted.size() - 1))];
}

void print(std::vector<Outcome> outcomes) {
  Outcome all;
  for (auto& each : outcomes) {
    all.failed += each.failed;
    all.milliseconds.insert(all.milliseconds.end(), each.milliseconds.begin(),
                            each.milliseconds.end());
  }
  std::ranges::sort(all.milliseconds);
  std::printf(
      "{\"requests\":%zu,\"failed\":%zu,\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,"
      "\"p999_ms\":%.3f,\"max_ms\":%.3f}\n",
      all.milliseconds.size(), all.failed, at(all.milliseconds, 0.5), at(all.milliseconds, 0.9),
      at(all.milliseconds, 0.99), at(all.milliseconds, 0.999), at(all.milliseconds, 1));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return std::fputs("usage: see the first lines of paced_client.cpp\n", stderr), 2;
  const auto port = static_cast<std::uint16_t>(std::atoi(argv[1]));
  const std::chrono::nanoseconds pace(1'000'000'000 / std::atoi(argv[2]));
  const int connections = std::atoi(argv[3]);
  std::string token;
  std::ifstream(argv[4]) >> token;
  const std::string body = std::string(R"({"payload":")") + argv[5] + "\"}";
  std::vector<std::string> requests;
  for (std::string tenant; std::getline(std::cin, tenant) && !tenant.empty();) {
    requests.push_back("POST /api/tenants/" + tenant + "/sign HTTP/1.1\r\nHost: localhost\r\n" +
                       "Authorization: Bearer " + token +
                       "\r\nContent-Type: application/json\r\nContent-Length: " +
                       std::to_string(body.size()) + "\r\n\r\n" + body);
  }
  std::atomic<bool> ended{false};
  std::vector<Outcome> outcomes(static_cast<std::size_t>(connections));
  {
    const auto begin = Clock::now() + std::chrono::milliseconds(50);
    std::vector<std::jthread> callers;
    for (int caller = 0; caller < connections; ++caller) {
      callers.emplace_back([&, caller] {
        prctl(PR_SET_TIMERSLACK, 1UL);
        Connection connection(port);
        auto& outcome = outcomes[static_cast<std::size_t>(caller)];
        for (std::int64_t n = caller; !ended; n += connections) {
          const auto due = begin + pace * n;
          std::this_thread::sleep_until(due);
          const bool good = connection.ask(requests[static_cast<std::size_t>(n) % requests.size()]);
          outcome.failed += good ? 0 : 1;
          outcome.milliseconds.push_back(
              std::chrono::duration<double, std::milli>(Clock::now() - due).count());
        }
      });
    }
    std::string rest;
    std::getline(std::cin, rest);
    ended = true;
  }
  print(std::move(outcomes));
}
