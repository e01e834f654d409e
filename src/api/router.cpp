#include "api/router.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <exception>

#include <fmt/format.h>

#include "api/authentication.h"
#include "api/exchange.h"
#include "api/problem.h"
#include "base/encoding.h"
#include "base/try.h"
#include "telemetry/log.h"
#include "telemetry/metrics.h"

namespace betrace::kms {
namespace {

constexpr std::size_t unauthenticated_body_bytes_max = 1 << 20;

// Stand for what no row matches, so that they are counted under few names.
constexpr Route unmatched[] = {
    {"GET", "NOT_FOUND", "", Permission::none},   {"POST", "NOT_FOUND", "", Permission::none},
    {"PUT", "NOT_FOUND", "", Permission::none},   {"DELETE", "NOT_FOUND", "", Permission::none},
    {"OTHER", "NOT_FOUND", "", Permission::none}, {"OTHER", "REFUSED", "", Permission::none},
};
constexpr const Route& refused = unmatched[5];

const Route& unmatched_row(std::string_view method) {
  const auto row = std::ranges::find(unmatched, method, &Route::method);
  return row == std::end(unmatched) ? unmatched[4] : *row;
}

constexpr int statuses[] = {200, 201, 202, 400, 401, 403, 404, 405, 408,
                            409, 410, 413, 429, 431, 501, 503, 500};

std::size_t status_index(int status) {
  const auto at = std::ranges::find(statuses, status);
  return at == std::end(statuses) ? std::size(statuses) - 1
                                  : static_cast<std::size_t>(at - std::begin(statuses));
}

spdlog::logger& http_log() {
  static auto& log = logger("com.betrace.kms.http");
  return log;
}

Error overloaded(std::string message) {
  return {.code = ErrorCode::overloaded,
          .message = std::move(message),
          .type = {},
          .retry_after = std::chrono::seconds(1)};
}

bool announces_small_body(const Request& head) {
  const auto text = head.header("Content-Length");
  std::size_t size = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
  return error == std::errc() && end == text.data() + text.size() &&
         size <= unauthenticated_body_bytes_max;
}

// Reset is a time, in seconds since 1970, as GitHub's and most others' under these names.
void add_headers(const RateLimits::Standing& standing, Response& response) {
  const auto reset = std::chrono::ceil<std::chrono::seconds>(standing.reset_at);
  response.headers.emplace_back("X-RateLimit-Limit", std::to_string(standing.limit));
  response.headers.emplace_back("X-RateLimit-Remaining", std::to_string(standing.remaining));
  response.headers.emplace_back("X-RateLimit-Reset",
                                std::to_string(reset.time_since_epoch().count()));
}

std::string_view name_of(Principal::Kind kind) {
  return kind == Principal::Kind::admin ? "admin" : "anonymous";
}

void end_span(Span& span, const ApiExchange& exchange, int status, std::string_view outcome) {
  if (!span.recording()) return;
  if (exchange.has_tenant()) span.set("tenant.id", exchange.tenant().str());
  span.set("http.response.status_code", static_cast<std::int64_t>(status));
  if (status >= 400) span.set("error.type", outcome);
  if (status >= 500) span.fail(outcome);
  span.end();
}

}  // namespace

Router::Router(ApiParts parts)
    : parts_(std::move(parts)),
      table_(routes()),
      started_at_(parts_.clock.steady_now()),
      rate_limits_(parts_.clock),
      histograms_((routes().size() + std::size(unmatched)) * std::size(statuses)) {}

Router::~Router() = default;

HttpApplication::Limits Router::limits(const Request& head) const {
  const auto match = table_.find(head.method, head.path);
  if (!match.route) return {};
  auto limit = match.route->body_bytes_max;
  // Nobody unknown makes us hold 16 MiB.
  if (limit > unauthenticated_body_bytes_max && !announces_small_body(head) &&
      !has_admin_token(head, parts_.settings)) {
    limit = unauthenticated_body_bytes_max;
  }
  return {.body_bytes_max = limit};
}

void Router::handle(Reply reply) {
  const auto& request = reply.request();
  const auto match = table_.find(request.method, request.path);
  const auto& route = match.route ? *match.route : unmatched_row(request.method);
  auto exchange = std::make_unique<ApiExchange>(*this, route, std::move(reply));
  try {
    identify(*exchange);
    if (auto admitted = admit(*exchange, match); !admitted) {
      auto response = problem_response(admitted.error(), exchange->call_.request_id);
      if (admitted.error().code == ErrorCode::method_not_allowed) {
        response.headers.emplace_back("Allow", table_.allowed_methods(request.path));
      }
      if (shutting_down_) response.headers.emplace_back("Connection", "close");
      finish(std::move(exchange), std::move(response), to_string(admitted.error().code));
    } else if (request.body.size() > inline_body_bytes_max) {
      run_heavy(std::move(exchange), route.handler);
    } else {
      route.handler(std::move(exchange));
    }
  } catch (const std::exception& error) {
    // Memory ran out; the exchange is gone and has answered 500.
    http_log().error("{} {} failed: {}", route.method, route.pattern, error.what());
  }
}

void Router::identify(ApiExchange& exchange) {
  const auto& request = exchange.request();
  const auto sent = request.header("X-Request-Id");
  auto& call = exchange.call_;
  call.request_id = is_sane_request_id(sent) ? std::string(sent) : request_ids_.next();
  call.principal = {.kind = Principal::Kind::anonymous, .name = "anonymous"};
  call.deadline = request.received_at + exchange.route_.deadline;
  if (exchange.route_.extra == Extra::lease) call.deadline += parts_.settings.node_lease;
  if (!request.header("traceparent").empty()) call.trace = read_trace(request);
  if (parts_.tracer.on()) begin_span(exchange);
}

// Names as OpenTelemetry's semantic conventions for HTTP servers have them. Health and metrics are
// left out, as everywhere under Quarkus.
void Router::begin_span(ApiExchange& exchange) const {
  const auto& request = exchange.request();
  const auto& route = exchange.route_;
  if (route.permission == Permission::none && !route.verb.empty()) return;
  auto& span = exchange.span_;
  const std::string_view method = route.method == "OTHER" ? "_OTHER" : route.method;
  const bool matched = !route.verb.empty();
  span = parts_.tracer.start_server(
      matched ? fmt::format("{} {}", method, route.pattern) : std::string(method),
      exchange.call_.trace);
  exchange.call_.trace = span.context();
  if (!span.recording()) return;
  span.set("http.request.method", method);
  if (matched) span.set("http.route", route.pattern);
  if (matched) span.set("url.path", request.path);  // another may be anything, secrets included
  span.set("url.scheme", std::string_view(request.tls ? "https" : "http"));
}

Status Router::admit(ApiExchange& exchange, const RouteTable::Match& match) {
  const auto& request = exchange.request();
  const auto& route = exchange.route_;
  if (!match.route) {
    return match.path_exists ? fail(ErrorCode::method_not_allowed,
                                    fmt::format("{} is not a method of this path", request.method))
                             : fail(ErrorCode::not_found,
                                    "there is no such path; /q/openapi lists those there are");
  }
  exchange.tenant_text_ = match.id;
  if (route.permission != Permission::none) {
    if (shutting_down_) return std::unexpected(overloaded("the service is shutting down"));
    exchange.counted_ = true;
    const auto before = in_flight_.fetch_add(1, std::memory_order_relaxed);
    if (before >= parts_.settings.requests_in_flight_max) {
      return std::unexpected(overloaded("too many requests are in flight; try again"));
    }
  }
  const auto kind = TRY(authenticate(request, route.permission, parts_.settings));
  exchange.call_.principal = {.kind = kind, .name = std::string(name_of(kind))};
  if (request.body.size() > route.body_bytes_max) {
    return fail(ErrorCode::payload_too_large,
                fmt::format("the body has {} bytes; at most {}", request.body.size(),
                            route.body_bytes_max));
  }
  TRY(read_path(exchange, match));
  if (route.permission != Permission::none) TRY(authorize(exchange));
  if (route.extra == Extra::rate_limited) TRY(take_from_limit(exchange));
  return {};
}

Status Router::read_path(ApiExchange& exchange, const RouteTable::Match& match) const {
  if (match.id.data() == nullptr) return {};
  if (match.key_id.data() != nullptr) {
    const auto key = KeyId::parse(match.key_id);
    if (!key) return fail(ErrorCode::invalid_argument, "the key id in the path is not a UUID");
    exchange.key_id_ = *key;
  }
  if (match.id.find('%') == std::string_view::npos) {
    exchange.tenant_ = TRY(TenantId::parse(match.id));
    return {};
  }
  const auto decoded = percent_decode(match.id);
  if (!decoded) {
    return fail(ErrorCode::invalid_argument, "the tenant id in the path has a broken %-escape");
  }
  exchange.tenant_ = TRY(TenantId::parse(*decoded));
  return {};
}

Status Router::take_from_limit(ApiExchange& exchange) {
  exchange.standing_ = rate_limits_.take(exchange.tenant());
  const auto& standing = exchange.standing_;
  if (!standing || !standing->refused) return {};
  return std::unexpected(
      Error{.code = ErrorCode::rate_limited,
            .message = fmt::format("tenant '{}' is limited to {} requests a minute",
                                   exchange.tenant().str(), standing->limit),
            .retry_after = standing->until_reset});
}

Status Router::authorize(ApiExchange& exchange) const {
  const auto& principal = exchange.call_.principal;
  std::string_view tenant;
  if (exchange.has_tenant()) tenant = exchange.tenant().str();
  if (parts_.authorizer.allow(principal, exchange.route_.verb, tenant)) return {};
  if (principal.kind == Principal::Kind::anonymous) {
    return fail(ErrorCode::unauthenticated,
                fmt::format("'{}' needs the admin token", exchange.route_.verb));
  }
  return fail(ErrorCode::permission_denied,
              fmt::format("'{}' may not '{}'", principal.name, exchange.route_.verb));
}

// Of a flood that a limit holds back, one refusal a minute says enough.
Status Router::record(const ApiExchange& exchange, int status, std::string_view outcome) const {
  const auto& standing = exchange.standing_;
  const bool refused = status == 401 || status == 403 || (standing && standing->first_refusal);
  if (!exchange.route_.mutates && !refused) return {};
  return exchange.audit(exchange.route_.verb, outcome);
}

void Router::finish(ExchangePtr exchange, Response response, std::string_view outcome) {
  const auto& route = exchange->route_;
  const auto& id = exchange->call_.request_id;
  if (const auto recorded = record(*exchange, response.status, outcome); !recorded) {
    response = problem_response(recorded.error(), id);
    outcome = to_string(recorded.error().code);
  }
  if (exchange->standing_) add_headers(*exchange->standing_, response);
  if (response.status == 500) {
    http_log().error("{} {} answered 500 {}: {} request_id={}", route.method, route.pattern,
                     outcome, as_text(as_bytes(response.body)), id);
  }
  response.headers.emplace_back("X-Request-Id", id);
  const std::chrono::duration<double> taken =
      parts_.clock.steady_now() - exchange->request().received_at;
  observe(route, response.status, taken.count());
  end_span(exchange->span_, *exchange, response.status, outcome);
  exchange->reply_.send(std::move(response));
}

Response Router::refuse(ErrorCode code, std::string_view detail) {
  const auto id = request_ids_.next();
  auto response = problem_response({.code = code, .message = std::string(detail), .type = {}}, id);
  response.headers.emplace_back("X-Request-Id", id);
  observe(refused, response.status, 0);
  return response;
}

void Router::observe(const Route& route, int status, double seconds) {
  histogram(route, status).Observe(seconds);
}

prometheus::Histogram& Router::histogram(const Route& route, int status) {
  const auto row = route.verb.empty()
                       ? routes().size() + static_cast<std::size_t>(&route - unmatched)
                       : table_.index_of(route);
  const auto column = status_index(status);
  auto& slot = histograms_[row * std::size(statuses) + column];
  auto* found = slot.load(std::memory_order_acquire);
  if (!found) {
    found = &parts_.metrics.http_request_seconds(route.method, route.pattern, statuses[column]);
    slot.store(found, std::memory_order_release);
  }
  return *found;
}

}  // namespace betrace::kms
