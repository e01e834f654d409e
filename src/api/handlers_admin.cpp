#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "api/handlers.h"
#include "api/json_fields.h"
#include "api/migration_views.h"
#include "api/router.h"
#include "base/try.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

double milliseconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

std::string_view latency_name(std::string_view test) {
  constexpr std::string_view prefix = "key_retrieval_";
  if (test.starts_with(prefix)) test.remove_prefix(prefix.size());
  return test;
}

void write_report(const ValidationReport& report, JsonWriter& out) {
  const bool passed = std::ranges::none_of(
      report.tests, [](const ValidationTest& test) { return test.failure.has_value(); });
  out.begin_object();
  out.key("provider").string(report.provider);
  out.key("overall").string(passed ? "PASS" : "FAIL");
  out.key("tests").begin_object();
  for (const auto& test : report.tests) {
    out.key(test.name).string(test.failure ? "FAIL: " + test.failure->message : "PASS");
  }
  out.end_object().key("latency_ms").begin_object();
  for (const auto& test : report.tests) {
    out.key(latency_name(test.name)).decimal(milliseconds(test.latency));
  }
  out.end_object().key("recommendations").begin_array();
  for (const auto& recommendation : report.recommendations) out.string(recommendation);
  out.end_array().end_object();
}

std::string_view state_name(BreakerState state) {
  switch (state) {
    case BreakerState::closed:
      return "CLOSED";
    case BreakerState::open:
      return "OPEN";
    case BreakerState::half_open:
      return "HALF_OPEN";
  }
  std::unreachable();
}

std::string_view overall(const HealthState& health, std::span<const std::string> issues) {
  if (health.started && !health.up) return "DOWN";
  return health.started && issues.empty() ? "HEALTHY" : "WARNING";
}

void write_cache_sizes(const CacheReport& caches, JsonWriter& out) {
  const auto number = [](std::uint64_t n) { return static_cast<std::int64_t>(n); };
  out.key("cache_size")
      .integer(
          number(caches.private_keys.size + caches.public_keys.size + caches.encryption_keys.size));
  out.key("cache_private_keys").integer(number(caches.private_keys.size));
  out.key("cache_public_keys").integer(number(caches.public_keys.size));
  out.key("cache_encryption_keys").integer(number(caches.encryption_keys.size));
}

void write_status(const ApiExchange& exchange, const Result<MigrationState>& keys,
                  JsonWriter& body) {
  const auto& api = exchange.api();
  const auto health = api.monitor.health();
  auto issues = api.monitor.issues();
  for (const auto& [count, readable] : keys ? keys->holders : MigrationState().holders) {
    if (readable) continue;
    issues.push_back(fmt::format("{} keys are wrapped by '{}', which no configured provider opens",
                                 count.keys, count.provider));
  }
  if (!keys) issues.push_back("the store does not answer: " + keys.error().message);
  const auto uptime = std::chrono::floor<std::chrono::seconds>(api.clock.steady_now() -
                                                               exchange.router().started_at());
  body.begin_object();
  body.key("provider").string(health.provider);
  body.key("status").string(overall(health, issues));
  body.key("latency_ms").integer(health.latency.count());
  if (health.error) body.key("error").string(health.error->message);
  write_cache_sizes(api.keys.cache_report(), body);
  body.key("circuit_breakers").begin_object();
  for (const auto& breaker : api.monitor.breakers()) {
    body.text_key(breaker.name).string(state_name(breaker.state));
  }
  body.end_object();
  if (keys) {
    body.key("wrappings");
    write_holders(keys->holders, body);
  }
  body.key("issues").begin_array();
  for (const auto& issue : issues) body.string(issue);
  body.end_array();
  body.key("version").string(api.settings.version);
  body.key("uptime_seconds").integer(uptime.count());
  body.end_object();
}

// As java.time.Duration writes itself: "PT24H", "PT1H30M", "PT45M".
std::string iso_duration(std::chrono::minutes duration) {
  const auto hours = std::chrono::floor<std::chrono::hours>(duration);
  const auto minutes = duration - hours;
  std::string text = "PT";
  if (hours.count() > 0) text += fmt::format("{}H", hours.count());
  if (minutes.count() > 0 || hours.count() == 0) text += fmt::format("{}M", minutes.count());
  return text;
}

Result<TenantId> read_tenant_id(const Request& request) {
  JsonDocument document;
  JsonValue tenant = nullptr;
  TRY(read_body(request, document, {{"tenantId", &tenant}}));
  return TenantId::parse(TRY(string_field("tenantId", tenant)));
}

struct LogLevel {
  std::string category, level;
};
Result<LogLevel> read_log_level(const Request& request) {
  JsonDocument document;
  JsonValue category = nullptr, level = nullptr;
  TRY(read_body(request, document, {{"category", &category}, {"level", &level}}));
  return LogLevel{.category = TRY(string_field("category", category)),
                  .level = TRY(string_field("level", level))};
}

}  // namespace

namespace handlers {

void validate(ExchangePtr exchange) {
  const auto& now = *exchange;
  now.api().monitor.validate(
      now.call(), [exchange = std::move(exchange)](Result<ValidationReport> report) mutable {
        if (!report) return refuse(std::move(exchange), std::move(report).error());
        JsonWriter body(1024);
        write_report(*report, body);
        answer(std::move(exchange), std::move(body));
      });
}

void status(ExchangePtr exchange) {
  const auto& now = *exchange;
  now.api().migration.state(
      now.call(), [exchange = std::move(exchange)](const Result<MigrationState>& state) mutable {
        JsonWriter body(1024);
        write_status(*exchange, state, body);
        answer(std::move(exchange), std::move(body));
      });
}

void cache_config(ExchangePtr exchange) {
  const auto& settings = exchange->api().settings;
  JsonWriter body;
  body.begin_object();
  body.key("privateKeyTTL").string(iso_duration(settings.private_key_ttl));
  body.key("publicKeyTTL").string(iso_duration(settings.public_key_ttl));
  body.key("encryptionKeyTTL").string(iso_duration(settings.encryption_key_ttl));
  body.key("maxEntries").integer(static_cast<std::int64_t>(settings.cache_entries_max));
  body.end_object();
  answer(std::move(exchange), std::move(body));
}

void test_key_retrieval(ExchangePtr exchange) {
  auto tenant = read_tenant_id(exchange->request());
  if (!tenant) return refuse(std::move(exchange), std::move(tenant).error());
  exchange->set_tenant(*std::move(tenant));
  const auto& now = *exchange;
  const auto begin = now.api().clock.steady_now();
  now.api().keys.retrieve_signing_key(
      now.call(), now.tenant(),
      [exchange = std::move(exchange), begin](Result<bool> cached) mutable {
        if (!cached) return refuse(std::move(exchange), std::move(cached).error());
        const auto taken = exchange->api().clock.steady_now() - begin;
        JsonWriter body;
        body.begin_object();
        body.key("status").string("success");
        body.key("latency_ms").decimal(milliseconds(taken));
        body.key("cache_hit").boolean(*cached);
        body.end_object();
        answer(std::move(exchange), std::move(body));
      });
}

void log_level(ExchangePtr exchange) {
  const auto wanted = read_log_level(exchange->request());
  if (!wanted) return refuse(std::move(exchange), wanted.error());
  if (auto set = set_log_level(wanted->category, wanted->level); !set) {
    return refuse(std::move(exchange), std::move(set).error());
  }
  JsonWriter body;
  body.begin_object();
  body.key("category").string(wanted->category);
  body.key("level").string(wanted->level);
  body.end_object();
  answer(std::move(exchange), std::move(body));
}

}  // namespace handlers
}  // namespace betrace::kms
