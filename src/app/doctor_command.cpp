#include "app/doctor_command.h"

#include <algorithm>
#include <filesystem>
#include <future>
#include <ostream>
#include <sstream>

#include <boost/json.hpp>
#include <fmt/format.h>

#include "api/doctor_view.h"
#include "app/client_session.h"
#include "app/doctor_facts_of.h"
#include "app/http_observer.h"
#include "app/wiring_provider.h"
#include "core/doctor_rules.h"
#include "core/provider_calls.h"
#include "providers/local_remedies.h"

namespace betrace::kms {
namespace {

namespace json = boost::json;
using std::chrono::seconds;

constexpr seconds call_timeout{5};

// --- what only the service knows -----------------------------------------------------------------

struct ServiceAnswer {
  std::vector<Finding> findings;
  std::string trouble;  // why there are none
};

Finding read_finding(const json::object& object) {
  const auto severity = text_of(object, "severity");
  Finding it{.id = text_of(object, "id"),
             .severity = severity == "critical" ? Severity::critical
                         : severity == "info"   ? Severity::info
                                                : Severity::warning,
             .title = text_of(object, "title"),
             .evidence = text_of(object, "evidence"),
             .cause = text_of(object, "cause"),
             .remedy = {},
             .manual = text_of(object, "manual")};
  if (const auto* remedy = object.if_contains("remedy"); remedy && remedy->is_array()) {
    for (const auto& command : remedy->get_array()) {
      if (command.is_string()) it.remedy.push_back(printable(command.get_string()));
    }
  }
  return it;
}

ServiceAnswer ask_service(const CommandLine& line, const World& world,
                          const LocalServiceReader& local) {
  auto connection = find_service(line.connection, world, local);
  if (!connection) return {.findings = {}, .trouble = connection.error().message};
  const auto patience = line.connection.timeout_seconds.value_or(5);
  const DaemonClient client(*std::move(connection), world.http_client(), seconds(patience));
  const auto answer = client.send("GET", "/api/admin/kms/doctor");
  if (!answer) return {.findings = {}, .trouble = answer.error().message};
  boost::system::error_code error;
  const auto value = json::parse({answer->body.data(), answer->body.size()}, error);
  const auto* object = error ? nullptr : value.if_object();
  const auto* found = object ? object->if_contains("findings") : nullptr;
  if (answer->status != 200 || found == nullptr || !found->is_array()) {
    return {.findings = {},
            .trouble = fmt::format("{} answered {} {}", client.connection().url, answer->status,
                                   object ? text_of(*object, "detail") : "without a report")};
  }
  ServiceAnswer out;
  for (const auto& each : found->get_array()) {
    if (const auto* finding = each.if_object()) out.findings.push_back(read_finding(*finding));
  }
  return out;
}

// --- what the provider answers -------------------------------------------------------------------

// A service that has never been started has no local master key yet, and none is made here.
bool is_fresh(const Config& config) {
  std::error_code error;
  return !std::filesystem::exists(config.text("betrace.kms.local.master-key-file"), error) &&
         !schema_facts(config);
}

void ask_provider(const Config& config, const World& world, Examination::Live& live,
                  DoctorFacts& facts) {
  const auto name = config.text("betrace.kms.provider");
  if (name == "local" && is_fresh(config)) {
    static const LocalRemedies remedies;
    facts.provider = ProviderFacts{.probe = {}, .live = true, .remedies = &remedies};
    return;
  }
  live.http = std::make_unique<HttpObserver>(world.http_client(), system_clock());
  const auto variables = [&world](const char* variable) -> std::optional<std::string> {
    auto value = world.environment(variable);
    return value && value->empty() ? std::nullopt : value;
  };
  auto provider = make_provider(name, provider_environment(config, *live.http, variables, false));
  if (!provider) {
    const auto available = provider_names();
    facts.config.refused = provider.error().message;
    facts.config.provider_unsupported = std::ranges::find(available, name) == available.end();
    return;
  }
  live.provider = *std::move(provider);
  facts.provider =
      ProviderFacts{.probe = examine_provider(*live.provider, system_clock(), call_timeout),
                    .live = true,
                    .remedies = live.provider->remedies()};
  const auto seen = live.http->seen();
  facts.provider->phases = seen.slowest;
  facts.provider->clock_skew = seen.clock_skew;
}

// --- the report ----------------------------------------------------------------------------------

std::string report_text(const DoctorFacts& facts, const DoctorReport& report) {
  std::ostringstream out;
  if (facts.provider) {
    for (const auto& call : facts.provider->probe.calls) {
      out << fmt::format("{:<20} {:<6} {:.1f} ms\n", call.operation, call.error ? "FAIL" : "PASS",
                         static_cast<double>(call.latency.count()) / 1000);
    }
    if (facts.provider->phases) {
      out << fmt::format("{:<20} {}\n", "slowest exchange", phases_text(*facts.provider->phases));
    }
  }
  for (const auto& each : report.findings) {
    out << fmt::format("\n{}: {} [{}]\n", severity_name(each.severity), printable(each.title),
                       each.id);
    out << "  evidence: " << printable(each.evidence) << '\n';
    out << "  cause:    " << printable(each.cause) << '\n';
    for (const auto& command : each.remedy) out << "  $ " << printable(command) << '\n';
    out << "  manual:   " << each.manual << '\n';
  }
  out << (report.findings.empty() ? "healthy: nothing found\n"
          : report.healthy()      ? "\nhealthy\n"
                                  : "\nnot healthy\n");
  return std::move(out).str();
}

}  // namespace

Examination examine(const CommandLine& line, const World& world, const Result<Config>& config,
                    const LocalServiceReader& local) {
  Examination out{.live = {}, .facts = {.now = system_clock().now()}, .report = {}};
  auto& facts = out.facts;
  if (!config) {
    facts.config.refused = config.error().message;
    facts.config.provider.clear();
    if (!line.config_file.empty()) facts.config.file = line.config_file;
    out.report = diagnose(facts);
    return out;
  }
  facts.config = config_facts(*config);
  facts.host = host_facts(*config);
  facts.host.schema = schema_facts(*config);
  auto asked = std::async(std::launch::async, [&] { return ask_service(line, world, local); });
  ask_provider(*config, world, out.live, facts);
  auto service = asked.get();
  if (!service.trouble.empty()) facts.service_unreachable = service.trouble;

  // What this command saw itself comes first: it is the newer of two findings with one id.
  auto findings = diagnose(facts).findings;
  std::ranges::move(service.findings, std::back_inserter(findings));
  out.report = in_order(std::move(findings));
  return out;
}

std::string doctor_text(const Examination& examination, bool json) {
  if (!json) return report_text(examination.facts, examination.report);
  JsonWriter body(4096);
  write_doctor_report(examination.report, body);
  return std::string(body.text()) + '\n';
}

ExitCode run_doctor(const CommandLine& line, const World& world, const Result<Config>& config,
                    const LocalServiceReader& local) {
  const auto examination = examine(line, world, config, local);
  world.out << doctor_text(examination, line.json);
  if (!examination.facts.config.refused.empty()) return ExitCode::usage;
  return examination.report.healthy() ? ExitCode::ok : ExitCode::check_failed;
}

}  // namespace betrace::kms
