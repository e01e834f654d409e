#include <string>

#include <fmt/format.h>

#include "api/handlers.h"
#include "api/openapi.h"
#include "telemetry/metrics.h"

namespace betrace::kms {
namespace {

// The section of the manual that deals with an error of the provider.
std::string help_url(const ApiSettings& settings, ErrorCode code) {
  std::string_view section = "#issue-2-health-check-returns-down";
  if (code == ErrorCode::kms_access_denied) {
    section = "#issue-1-access-denied---iam-permission-error";
  } else if (code == ErrorCode::invalid_ciphertext) {
    section = "#issue-8-invalid-encryption-context-error";
  } else if (code == ErrorCode::circuit_open) {
    section = "#issue-10-circuit-breaker-open-kms-operations-blocked";
  }
  return fmt::format("{}{}", settings.manual_url, section);
}

// MicroProfile Health: {"status","checks":[{"name","status","data":{…}}]}; 503 when one is down.
class HealthAnswer {
 public:
  HealthAnswer() { checks_.begin_array(); }

  JsonWriter& begin_check(std::string_view name, bool up) {
    up_ &= up;
    checks_.begin_object().key("name").string(name);
    return checks_.key("status").string(up ? "UP" : "DOWN");
  }
  void end_check() { checks_.end_object(); }

  void send(ExchangePtr exchange) {
    if (exchange->shutting_down() && not_when_ending_) {
      begin_check("shutdown", false);
      end_check();
    }
    checks_.end_array();
    JsonWriter body(512);
    body.begin_object();
    body.key("status").string(up_ ? "UP" : "DOWN");
    body.key("checks").verbatim(checks_.text());
    body.end_object();
    answer(std::move(exchange), std::move(body), up_ ? 200 : 503);
  }
  HealthAnswer& down_when_ending() {
    not_when_ending_ = true;
    return *this;
  }

 private:
  JsonWriter checks_;
  bool up_ = true;
  bool not_when_ending_ = false;
};

void add_provider_check(const ApiExchange& exchange, HealthAnswer& health) {
  const auto state = exchange.api().monitor.health();
  auto& out = health.begin_check("kms", state.up);
  out.key("data").begin_object().key("provider").string(state.provider);
  if (state.up) {
    out.key("latency_ms").integer(state.latency.count());
    out.key("status").string("operational");
  } else {
    const auto error = state.error.value_or(Error{.code = ErrorCode::kms_unavailable,
                                                  .message = "the provider has not been asked yet",
                                                  .type = {},
                                                  .retry_after = {}});
    out.key("error").string(error.message);
    out.key("error_type").string(error.type.empty() ? to_string(error.code) : error.type);
    out.key("help_url").string(help_url(exchange.api().settings, error.code));
  }
  out.end_object();
  health.end_check();
}

void add_start_check(const ApiExchange& exchange, HealthAnswer& health) {
  health.begin_check("startup", exchange.api().monitor.health().started);
  health.end_check();
}

// curl's */* and a bare text/plain name no Prometheus format.
bool asks_for_prometheus(std::string_view accept) {
  for (const auto* format : {"version=", "openmetrics", "application/vnd.google.protobuf"}) {
    if (accept.find(format) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace

namespace handlers {

void health(ExchangePtr exchange) {
  HealthAnswer health;
  add_start_check(*exchange, health);
  add_provider_check(*exchange, health);
  health.down_when_ending().send(std::move(exchange));
}

// Alive as long as it answers; restarting it would not bring a provider back.
void health_live(ExchangePtr exchange) { HealthAnswer().send(std::move(exchange)); }

void health_ready(ExchangePtr exchange) {
  HealthAnswer health;
  add_provider_check(*exchange, health);
  health.down_when_ending().send(std::move(exchange));
}

void health_started(ExchangePtr exchange) {
  HealthAnswer health;
  add_start_check(*exchange, health);
  health.send(std::move(exchange));
}

void health_serving(ExchangePtr exchange) {
  HealthAnswer health;
  const auto state = exchange->api().monitor.health();
  auto& out = health.begin_check("serving", state.serving);
  out.key("data").begin_object();
  out.key("provider").string(state.provider);
  out.key("provider_status").string(state.up ? "UP" : "DOWN");
  out.end_object();
  health.end_check();
  health.down_when_ending().send(std::move(exchange));
}

void metrics(ExchangePtr exchange) {
  const bool metadata = asks_for_prometheus(exchange->request().header("Accept"));
  const auto text = exchange->api().metrics.render(metadata);
  Response response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body.assign(text);
  answer(std::move(exchange), std::move(response));
}

// JSON is YAML too.
void openapi(ExchangePtr exchange) {
  const bool yaml = exchange->request().header("Accept").find("yaml") != std::string_view::npos;
  Response response;
  response.content_type = yaml ? "application/yaml" : "application/json";
  response.body.assign(openapi_document());
  answer(std::move(exchange), std::move(response));
}

}  // namespace handlers
}  // namespace betrace::kms
