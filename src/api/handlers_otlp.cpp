// /v1/traces and /v1/logs: OTLP/HTTP, whose refusals are google.rpc.Status in the encoding of the
// request.
#include <utility>

#include "betrace/kms/evidence.h"

#include "api/exchange.h"
#include "api/handlers.h"
#include "base/otlp.h"

namespace betrace::kms {
namespace {

// google.rpc.Code
int rpc_code(ErrorCode code) {
  constexpr int invalid_argument = 3, permission_denied = 7, resource_exhausted = 8, internal = 13,
                unavailable = 14;
  switch (code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::malformed_json:
      return invalid_argument;
    case ErrorCode::permission_denied:
      return permission_denied;
    case ErrorCode::payload_too_large:
      return resource_exhausted;
    case ErrorCode::overloaded:
    case ErrorCode::store_unavailable:
      return unavailable;
    default:
      return internal;
  }
}

void take(ExchangePtr exchange, StreamSignal signal) {
  const auto& now = *exchange;
  const StreamRequest request{.signal = signal,
                              .content_type = now.request().header("Content-Type"),
                              .content_encoding = now.request().header("Content-Encoding"),
                              .body = now.request().body};
  const auto encoding = request.content_type.starts_with("application/json")
                            ? OtlpEncoding::json
                            : OtlpEncoding::protobuf;
  now.api().stream.take(
      now.call(), request,
      [exchange = std::move(exchange), encoding](Result<StreamAnswer> taken) mutable {
        if (!taken) {
          const auto body =
              otlp_status(encoding, rpc_code(taken.error().code), taken.error().message);
          return refuse_as(
              std::move(exchange), taken.error(),
              encoding == OtlpEncoding::json ? "application/json" : "application/x-protobuf", body);
        }
        Response response;
        response.content_type = taken->content_type;
        response.body.assign(taken->body.begin(), taken->body.end());
        answer(std::move(exchange), std::move(response));
      });
}

template <StreamSignal signal>
void take_on_heavy_thread(ExchangePtr exchange) {
  run_heavy(std::move(exchange), [](ExchangePtr taken) { take(std::move(taken), signal); });
}

}  // namespace

namespace handlers {

void otlp_traces(ExchangePtr exchange) {
  take_on_heavy_thread<StreamSignal::traces>(std::move(exchange));
}
void otlp_logs(ExchangePtr exchange) {
  take_on_heavy_thread<StreamSignal::logs>(std::move(exchange));
}

}  // namespace handlers
}  // namespace betrace::kms
