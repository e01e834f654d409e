#include "net/http_server.h"

#include <algorithm>
#include <mutex>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <pthread.h>

#include "base/try.h"
#include "net/listener.h"
#include "net/sessions.h"
#include "net/tls_context.h"
#include "telemetry/log.h"

namespace betrace::kms {

void log_failed_request(const char* what) {
  logger(log_category::kms).error("an HTTP request failed: {}", what);
}

class HttpServer::State {
 public:
  State(HttpServerOptions options, HttpApplication& application)
      : core_(std::make_shared<ServerCore>(std::move(options), application)),
        work_(core_->io.get_executor()),
        sweep_timer_(core_->io) {}
  ~State() { stop(std::chrono::milliseconds(0)); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  Status start();
  void stop(std::chrono::milliseconds grace);
  Status reload_tls();

  const ServerCore& core() const { return *core_; }
  std::uint16_t port() const { return plain_ ? plain_->port() : std::uint16_t{0}; }
  std::uint16_t tls_port() const { return tls_ ? tls_->port() : std::uint16_t{0}; }

 private:
  using Timer = boost::asio::basic_waitable_timer<
      std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, IoExecutor>;

  Status open_listeners();
  void start_threads();
  void sweep_later();
  std::shared_ptr<boost::asio::ssl::context> tls_context();

  const std::shared_ptr<ServerCore> core_;
  boost::asio::executor_work_guard<IoExecutor> work_;
  std::shared_ptr<Listener> plain_, tls_;
  std::mutex tls_mutex_;
  std::shared_ptr<boost::asio::ssl::context> tls_context_;
  std::mutex sweep_mutex_;
  Timer sweep_timer_;
  bool sweeping_ = true;
  std::mutex stop_mutex_;
  std::vector<std::jthread> threads_;
};

Status HttpServer::State::start() {
  if (!core_->options.plain && !core_->options.tls) {
    return fail(ErrorCode::invalid_argument,
                "nothing to listen on: quarkus.http.insecure-requests=disabled takes a TLS "
                "listener, set quarkus.http.ssl.certificate.files and .key-files");
  }
  TRY(open_listeners());
  sweep_later();
  if (plain_) plain_->start();
  if (tls_) tls_->start();
  start_threads();
  return {};
}

Status HttpServer::State::open_listeners() {
  const auto& options = core_->options;
  if (options.tls) {
    tls_context_ = TRY(make_tls_context(*options.tls));
    tls_ = TRY(Listener::open(
        core_,
        {.host = options.host, .port = options.tls->port, .port_key = "quarkus.http.ssl-port"},
        [this](Accepted accepted) { start_tls_session(std::move(accepted), *tls_context()); }));
  }
  if (options.plain) {
    plain_ = TRY(Listener::open(
        core_, {.host = options.host, .port = options.port, .port_key = "quarkus.http.port"},
        [](Accepted accepted) { start_plain_session(std::move(accepted)); }));
  }
  return {};
}

void HttpServer::State::start_threads() {
  const auto count = std::max<std::size_t>(1, core_->options.io_threads);
  for (std::size_t i = 0; i < count; ++i) {
    threads_.emplace_back([core = core_, i] {
      pthread_setname_np(pthread_self(), ("http-" + std::to_string(i)).c_str());
      core->io.run();
    });
  }
}

void HttpServer::State::sweep_later() {
  const auto& options = core_->options;
  const auto shortest = std::min({options.head_timeout, options.body_timeout, options.write_timeout,
                                  options.idle_timeout, options.linger_timeout});
  using Milliseconds = std::chrono::milliseconds;
  const auto period = std::clamp(shortest / 4, Milliseconds(5), Milliseconds(250));
  sweep_timer_.expires_after(period);
  sweep_timer_.async_wait([this](boost::system::error_code) {
    core_->connections.sweep(std::chrono::steady_clock::now(),
                             core_->draining.load(std::memory_order_relaxed));
    const std::lock_guard lock(sweep_mutex_);
    if (sweeping_) sweep_later();
  });
}

void HttpServer::State::stop(std::chrono::milliseconds grace) {
  const std::lock_guard stopping(stop_mutex_);
  auto& connections = core_->connections;
  const auto end = std::chrono::steady_clock::now() + grace;
  if (plain_) plain_->close();
  if (tls_) tls_->close();
  core_->draining = true;
  // Again and again: a connection may become idle between two looks.
  do {
    connections.sweep(std::chrono::steady_clock::now(), true);
  } while (!connections.wait_until_empty(
               std::min(end, std::chrono::steady_clock::now() + std::chrono::milliseconds(10))) &&
           std::chrono::steady_clock::now() < end);
  connections.abort_all();
  {
    const std::lock_guard lock(sweep_mutex_);
    sweeping_ = false;
    sweep_timer_.cancel();
  }
  // Every operation ends now that its descriptor is shut down, and then so do the threads.
  work_.reset();
  threads_.clear();
  core_->close();
  connections.drop_parked();  // last: a connection may have parked itself until just now
}

std::shared_ptr<boost::asio::ssl::context> HttpServer::State::tls_context() {
  const std::lock_guard lock(tls_mutex_);
  return tls_context_;
}

Status HttpServer::State::reload_tls() {
  if (!tls_) return {};
  auto fresh = TRY(make_tls_context(*core_->options.tls));
  const std::lock_guard lock(tls_mutex_);
  tls_context_ = std::move(fresh);
  return {};
}

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpServerOptions options,
                                                      HttpApplication& application) {
  auto state = std::make_unique<State>(std::move(options), application);
  TRY(state->start());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
}

std::uint16_t HttpServer::port() const { return state_->port(); }
std::uint16_t HttpServer::tls_port() const { return state_->tls_port(); }
std::size_t HttpServer::connections() const { return state_->core().connections.size(); }
void HttpServer::stop(std::chrono::milliseconds grace) { state_->stop(grace); }
Status HttpServer::reload_tls() { return state_->reload_tls(); }

}  // namespace betrace::kms
