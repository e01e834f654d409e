#include <fmt/format.h>

#include "api/handlers.h"
#include "api/json_fields.h"
#include "api/router.h"
#include "api/time_fields.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

constexpr IntegerRange requests_range{.min = 0, .max = 1'000'000};

struct LimitRequest {
  TenantId tenant;
  RateLimits::Limit limit;
};

Result<LimitRequest> read_limit(const Request& request) {
  JsonDocument document;
  JsonValue tenant = nullptr, requests = nullptr, duration = nullptr;
  TRY(read_body(
      request, document,
      {{"tenantId", &tenant}, {"maxRequestsPerMinute", &requests}, {"duration", &duration}}));
  auto id = TRY(TenantId::parse(TRY(string_field("tenantId", tenant))));
  const auto number = TRY(integer_field("maxRequestsPerMinute", requests, requests_range));
  if (!number) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the field 'maxRequestsPerMinute' is missing; it is an integer from {} "
                            "to {}",
                            requests_range.min, requests_range.max));
  }
  const auto time = TRY(parse_duration("duration", TRY(string_field("duration", duration))));
  return LimitRequest{
      .tenant = std::move(id),
      .limit = {.requests_per_minute = static_cast<std::uint32_t>(*number), .duration = time}};
}

void set_limit(ExchangePtr exchange, RateLimits::Limit limit) {
  const auto end = exchange->router().rate_limits().set(exchange->tenant(), limit);
  if (!end) return refuse(std::move(exchange), end.error());
  JsonWriter body;
  body.begin_object();
  body.key("tenantId").string(exchange->tenant().str());
  body.key("maxRequestsPerMinute").integer(limit.requests_per_minute);
  body.key("expiresAt").time(*end);
  body.end_object();
  answer(std::move(exchange), std::move(body));
}

}  // namespace

namespace handlers {

// A name that nobody has is a slip of the hand. Where the store cannot say, the limit is set: it
// may be needed for just that reason.
void rate_limit(ExchangePtr exchange) {
  auto wanted = read_limit(exchange->request());
  if (!wanted) return refuse(std::move(exchange), std::move(wanted).error());
  exchange->set_tenant(std::move(wanted->tenant));
  const auto& now = *exchange;
  if (now.api().settings.auto_create_tenants) return set_limit(std::move(exchange), wanted->limit);
  now.api().keys.describe_tenant(
      now.call(), now.tenant(),
      [exchange = std::move(exchange),
       limit = wanted->limit](Result<TenantDescription> found) mutable {
        if (!found && found.error().code == ErrorCode::tenant_not_found) {
          return refuse(std::move(exchange), std::move(found).error());
        }
        set_limit(std::move(exchange), limit);
      });
}

}  // namespace handlers
}  // namespace betrace::kms
