#include "app/daemon_client.h"

#include <filesystem>

#include <fmt/format.h>

#include "app/admin_token.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

// "http://[::1]:8080/x" → "[::1]".
std::string_view host_of(std::string_view url) {
  url.remove_prefix(url.find("://") + 3);
  url = url.substr(0, url.find('/'));
  if (url.starts_with('[')) return url.substr(0, url.find(']') + 1);
  return url.substr(0, url.find(':'));
}

Result<std::string> check_url(std::string url, std::string_view source) {
  while (url.ends_with('/')) url.pop_back();
  const bool scheme = url.starts_with("http://") || url.starts_with("https://");
  if (!scheme || host_of(url).empty() || url.find_first_of("?#@ \t") != std::string::npos) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("{} '{}': an address like http://127.0.0.1:8080 is expected", source, url));
  }
  return url;
}

// The value of a variable that is set and not empty.
std::string variable(const World& world, std::string_view name) {
  return world.environment(name).value_or("");
}

// The token that this machine's service uses.
void find_local_token(const LocalService& service, Connection& connection) {
  if (!service.admin_token.empty()) {
    connection.token = service.admin_token;
    return;
  }
  const auto file = std::filesystem::absolute(service.data_dir) / admin_token_file_name;
  auto token = read_token_file(file.lexically_normal());
  if (token) {
    connection.token = *std::move(token);
  } else {
    connection.token_trouble = token.error().message;
  }
}

}  // namespace

bool is_loopback_host(std::string_view host) {
  return host == "localhost" || host == "[::1]" || host == "::1" || host.starts_with("127.");
}

std::string local_url(const LocalService& service) {
  const bool tls = !service.insecure_allowed;
  std::string host = service.host;
  if (host == "0.0.0.0" || host == "::" || host == "[::]") {
    // A certificate names a machine, and "localhost" is the better guess at one than an address.
    host = tls ? "localhost" : host == "0.0.0.0" ? "127.0.0.1" : "::1";
  }
  if (host.find(':') != std::string::npos && !host.starts_with('[')) host = "[" + host + "]";
  return fmt::format("{}://{}:{}", tls ? "https" : "http", host,
                     tls ? service.ssl_port : service.port);
}

Result<Connection> find_service(const ConnectionOptions& options, const World& world,
                                const LocalServiceReader& local) {
  Connection connection{.url = {}, .ca_file = options.ca_file, .token = {}, .token_trouble = {}};
  if (!options.url.empty()) {
    connection.url = TRY(check_url(options.url, "--url"));
  } else if (const auto url = variable(world, "BETRACE_KMS_URL"); !url.empty()) {
    connection.url = TRY(check_url(url, "BETRACE_KMS_URL"));
  }
  if (!options.token_file.empty()) {
    connection.token = TRY(read_token_file(options.token_file));
  } else {
    const auto token = variable(world, "ADMIN_TOKEN");
    if (!token.empty() && !is_token(token)) {
      return fail(ErrorCode::invalid_argument,
                  "ADMIN_TOKEN holds no token; visible ASCII without blanks is expected");
    }
    connection.token.assign(token.begin(), token.end());
  }
  if (!connection.url.empty() && !connection.token.empty()) return connection;

  const auto service = local();
  const bool configured_address = connection.url.empty();
  if (!service) {
    if (configured_address) return std::unexpected(service.error());
    connection.token_trouble = service.error().message;
    return connection;
  }
  if (configured_address) {
    connection.url = local_url(*service);
    const bool own_certificate = !service->insecure_allowed && options.ca_file.empty();
    if (own_certificate) connection.ca_file = service->certificate_file;
  }
  if (!connection.token.empty()) return connection;
  const auto host = host_of(connection.url);
  if (configured_address || is_loopback_host(host) || host == host_of(local_url(*service))) {
    find_local_token(*service, connection);
  } else {
    connection.token_trouble = fmt::format(
        "the admin token of this machine's service is not sent to {}; give --token-file or "
        "ADMIN_TOKEN",
        host);
  }
  return connection;
}

DaemonClient::DaemonClient(Connection connection, std::unique_ptr<HttpClient> http,
                           std::chrono::milliseconds timeout)
    : connection_(std::move(connection)), http_(std::move(http)), timeout_(timeout) {}

Result<HttpAnswer> DaemonClient::send(std::string_view method, const std::string& path,
                                      WipedString body, std::string_view accept) const {
  HttpCall call{.method = std::string(method),
                .url = connection_.url + path,
                .headers = {{"Accept", std::string(accept)}},
                .body = std::move(body),
                .aws = {},
                .timeout = timeout_,
                .answer_bytes_max = 64 << 20,
                .ca_file = connection_.ca_file,
                .unix_socket = {}};
  if (!call.body.empty()) call.headers.emplace_back("Content-Type", "application/json");
  if (!connection_.token.empty()) {
    call.headers.emplace_back("Authorization", "Bearer " + std::string(connection_.token));
  }
  auto answer = http_->send(call);
  if (answer) return answer;
  return fail(ErrorCode::kms_unavailable, fmt::format("cannot reach the service at {}: {}",
                                                      connection_.url, answer.error().message));
}

}  // namespace betrace::kms
