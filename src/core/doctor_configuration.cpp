// What the configuration alone shows.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/doctor_rules.h"

namespace betrace::kms {
namespace {

void find_unusable(const ConfigFacts& config, Findings& out) {
  if (config.refused.empty()) return;
  if (!config.provider_unsupported) {
    auto& it = out.emplace_back(
        finding("configuration-invalid", Severity::critical, "The configuration cannot be used"));
    it.evidence = config.refused;
    it.cause = "The service refuses to start with it";
    it.remedy = {"betrace-kms config", "${EDITOR:-vi} " + shell_word(config.file)};
    return;
  }
  auto& it = out.emplace_back(
      finding("unsupported-provider", Severity::critical,
              fmt::format("betrace.kms.provider={} is not supported", config.provider)));
  it.evidence = config.refused;
  it.cause =
      fmt::format("This release has the providers {}", fmt::join(config.providers_available, ", "));
  const auto fit = std::ranges::find_if(config.providers_available,
                                        [](const auto& name) { return name != "local"; });
  const bool any = fit != config.providers_available.end();
  it.remedy = {set_command(config, "betrace.kms.provider", any ? *fit : "local"),
               "betrace-kms doctor", restart_command};
}

void find_local(const DoctorFacts& facts, Findings& out) {
  const auto& config = facts.config;
  if (config.provider != "local") return;
  auto& it = out.emplace_back(finding(
      "local-in-production", config.beyond_loopback ? Severity::critical : Severity::warning,
      "Using LocalKmsAdapter - NOT FOR PRODUCTION USE"));
  it.evidence = fmt::format("betrace.kms.provider=local, listening on {}", config.host);
  it.cause =
      config.beyond_loopback
          ? "The service is offered to other machines while a file beside its database is the "
            "master key of everything in it"
          : "A file beside the database is the master key of everything in it: whoever copies "
            "both has all keys";
  it.remedy = remedy_of(facts, advice_of(facts, {.kind = TroubleKind::not_for_production}));
  it.remedy.emplace_back("betrace-kms migrate");
}

void find_warnings(const ConfigFacts& config, Findings& out) {
  if (!config.unknown_keys.empty()) {
    auto& it = out.emplace_back(
        finding("unknown-configuration", Severity::warning,
                fmt::format("{} settings are not known", config.unknown_keys.size())));
    it.evidence = fmt::format("{}", fmt::join(config.unknown_keys, "; "));
    it.cause = "A name that nobody reads has no effect: often it is misspelt";
    it.remedy = {"betrace-kms config", "${EDITOR:-vi} " + shell_word(config.file)};
  }
}

}  // namespace

void diagnose_configuration(const DoctorFacts& facts, Findings& out) {
  find_unusable(facts.config, out);
  find_local(facts, out);
  find_warnings(facts.config, out);
}

}  // namespace betrace::kms
