#include "api/exchange.h"

#include <utility>

#include <fmt/format.h>

#include "api/problem.h"
#include "api/router.h"
#include "base/executor.h"

namespace betrace::kms {

ApiExchange::ApiExchange(Router& router, const Route& route, Reply reply)
    : router_(router), route_(route), reply_(std::move(reply)) {}

ApiExchange::~ApiExchange() {
  // The last of us that touches the router; who sees 0 may destroy it.
  if (counted_) router_.in_flight_.fetch_sub(1, std::memory_order_release);
}

const ApiParts& ApiExchange::api() const { return router_.parts(); }

bool ApiExchange::shutting_down() const { return router_.shutting_down(); }

Status ApiExchange::audit(std::string_view verb, std::string_view outcome) const {
  return api().audit.record({.at = api().clock.now(),
                             .principal = call_.principal.name,
                             .verb = verb,
                             .tenant = tenant_ ? std::string_view(tenant_->str()) : tenant_text_,
                             .outcome = outcome,
                             .request_id = call_.request_id});
}

void answer(ExchangePtr exchange, JsonWriter body, int status) {
  Response response;
  response.status = status;
  response.body = std::move(body).take();
  answer(std::move(exchange), std::move(response));
}

void answer(ExchangePtr exchange, Response response) {
  auto& router = exchange->router();
  router.finish(std::move(exchange), std::move(response), "ok");
}

void refuse(ExchangePtr exchange, Error error) {
  if (error.code == ErrorCode::tenant_not_found && exchange->has_tenant()) {
    const auto& id = exchange->tenant().str();
    error.message =
        fmt::format("tenant '{0}' does not exist; create it with PUT /api/tenants/{0}", id);
  }
  auto response = problem_response(error, exchange->call().request_id);
  auto& router = exchange->router();
  router.finish(std::move(exchange), std::move(response), to_string(error.code));
}

void refuse_as(ExchangePtr exchange, const Error& error, std::string_view content_type,
               std::string_view body) {
  auto response = problem_response(error, exchange->call().request_id);
  response.content_type = content_type;
  response.body.assign(body.begin(), body.end());
  auto& router = exchange->router();
  router.finish(std::move(exchange), std::move(response), to_string(error.code));
}

void run_heavy(ExchangePtr exchange, std::move_only_function<void(ExchangePtr)> work) {
  auto& heavy = exchange->api().heavy;
  // Shared, because a job that is refused is gone and its request must still be answered.
  const auto held = std::make_shared<ExchangePtr>(std::move(exchange));
  if (heavy.post([held, work = std::move(work)]() mutable { work(std::move(*held)); })) return;
  refuse(std::move(*held), Error{.code = ErrorCode::overloaded,
                                 .message = "too many large requests are waiting; try again",
                                 .type = {},
                                 .retry_after = std::chrono::seconds(1)});
}

}  // namespace betrace::kms
