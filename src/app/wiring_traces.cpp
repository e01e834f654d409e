#include "app/wiring_traces.h"

#include <algorithm>

#include <fmt/format.h>

#include "app/config_values.h"
#include "base/encoding.h"
#include "base/try.h"
#include "net/curl_client.h"
#include "telemetry/log.h"
#include "telemetry/version.h"

namespace betrace::kms {
namespace {

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

// W3C Baggage's list without properties, as OpenTelemetry writes headers and attributes. The error
// does not repeat the value: headers carry tokens.
Result<Headers> parse_pairs(std::string_view key, std::string_view text) {
  Headers pairs;
  for (auto rest = text; !rest.empty();) {
    const auto comma = std::min(rest.find(','), rest.size());
    const auto item = trimmed(rest.substr(0, comma));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    if (item.empty()) continue;
    const auto equals = item.find('=');
    const auto name = trimmed(item.substr(0, std::min(equals, item.size())));
    auto value = equals == std::string_view::npos
                     ? std::nullopt
                     : percent_decode(trimmed(item.substr(equals + 1)));
    if (name.empty() || !value) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}: its item {} is not accepted; name=value,name=value with "
                              "percent-encoded values is",
                              key, pairs.size() + 1));
    }
    pairs.emplace_back(name, *std::move(value));
  }
  return pairs;
}

Result<ResourceAttributes> resource_of(const Config& config) {
  constexpr std::string_view key = "quarkus.otel.resource.attributes";
  auto resource = TRY(parse_pairs(key, config.text(key)));
  const auto set = [&](std::string_view name, std::string value) {
    std::erase_if(resource, [&](const auto& each) { return each.first == name; });
    resource.emplace_back(name, std::move(value));
  };
  const bool named =
      std::ranges::any_of(resource, [](const auto& each) { return each.first == "service.name"; });
  if (!named || config.is_set("quarkus.otel.service.name")) {
    set("service.name", config.text("quarkus.otel.service.name"));
  }
  set("service.version", std::string(version()));
  set("telemetry.sdk.name", "betrace-kms");
  set("telemetry.sdk.language", "cpp");
  set("telemetry.sdk.version", std::string(version()));
  return resource;
}

}  // namespace

Result<Headers> secret_headers(const Config& config, std::string_view key) {
  const auto headers = config.secret(key);
  return parse_pairs(key, as_text(headers.expose()));
}

Status make_tracer(Core::Parts& parts, const Config& config) {
  auto url = config.text("quarkus.otel.exporter.otlp.endpoint");
  if (url.empty()) return {};
  const auto sampler =
      TRY(Sampler::parse(config.text("quarkus.otel.traces.sampler"),
                         std::stod(config.text("quarkus.otel.traces.sampler.arg"))));
  SpanExporterOptions options;
  options.resource = TRY(resource_of(config));
  options.headers = TRY(secret_headers(config, "quarkus.otel.exporter.otlp.headers"));
  while (url.ends_with('/')) url.pop_back();
  options.url = url + "/v1/traces";
  // An address may hold a password.
  logger(log_category::kms)
      .info("Exporting traces to {} (sampler {})",
            shown_value(*find_config_key("quarkus.otel.exporter.otlp.endpoint"), options.url),
            config.text("quarkus.otel.traces.sampler"));
  // A client of its own: doctor looks at what the provider's has seen.
  parts.traces_http = make_http_client();
  parts.exporter = std::make_unique<SpanExporter>(
      std::move(options), *parts.traces_http, system_clock(), parts.metrics->trace_spans_dropped);
  parts.tracer = std::make_unique<Tracer>(system_clock(), sampler, *parts.exporter);
  return {};
}

}  // namespace betrace::kms
