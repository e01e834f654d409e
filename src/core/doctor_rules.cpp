#include "core/doctor_rules.h"

#include <algorithm>
#include <array>
#include <set>

#include <fmt/format.h>

namespace betrace::kms {
namespace {

constexpr std::string_view own = "docs/doctor.md";

// clang-format off
constexpr FindingKind kinds[] = {
  {"unsupported-provider",  "Issue 6"},
  {"configuration-invalid", own},
  {"clock-skew",            "Issue 1"},
  {"iam-denied",            "Issue 1"},
  {"key-pending-deletion",  "Issue 2"},
  {"key-disabled",          "Issue 2"},
  {"provider-unreachable",  "Issue 2"},
  {"provider-throttled",    "Issue 9"},
  {"provider-error",        "Issue 2"},
  {"store-unavailable",     own},
  {"schema-version",        own},
  {"wrapped-elsewhere",     own},
  {"wrapped-once",          own},
  {"breaker-open",          "Issue 10"},
  {"evidence-log",          own},
  {"otlp-queue",            own},
  {"rotation-overdue",      "Issue 7"},
  {"context-mismatch",      "Issue 8"},
  {"high-latency",          "Issue 4"},
  {"high-cost",             "Issue 9"},
  {"cache-hit-rate-low",    "Issue 5"},
  {"local-in-production",   "Issue 3"},
  {"rotation-off",          "Issue 7"},
  {"alias-moved",           own},
  {"region-mismatch",       "Issue 4"},
  {"tls-expiry",            own},
  {"disk-space",            own},
  {"token-readable",        own},
  {"file-modes",            own},
  {"memory-lock",           own},
  {"unknown-configuration", own},
  {"service-unreachable",   own},
};
// clang-format on

// What says all that another says, and more: the command has the one from its own facts, and the
// other from the service.
constexpr struct {
  std::string_view more, less;
} covers[] = {{"rotation-overdue", "rotation-off"}, {"key-pending-deletion", "key-disabled"}};

// A consequence of what is said already is no second alarm: an open breaker opened for a reason.
void calm_breaker(std::vector<Finding>& findings) {
  const auto breaker = std::ranges::find(findings, "breaker-open", &Finding::id);
  if (breaker == findings.end()) return;
  const bool explained = std::ranges::any_of(findings, [&](const Finding& each) {
    return each.severity == Severity::critical && each.id != breaker->id;
  });
  if (explained) breaker->severity = Severity::warning;
}

std::size_t rank_of(const Finding& finding) {
  return static_cast<std::size_t>(std::ranges::find(kinds, finding.id, &FindingKind::id) - kinds);
}

}  // namespace

std::span<const FindingKind> finding_kinds() { return kinds; }

Finding finding(std::string_view id, Severity severity, std::string title) {
  const auto* kind = std::ranges::find(kinds, id, &FindingKind::id);
  return {.id = std::string(id),
          .severity = severity,
          .title = std::move(title),
          .evidence = {},
          .cause = {},
          .remedy = {},
          .manual = std::string(kind == std::end(kinds) ? own : kind->manual)};
}

std::string shell_word(std::string_view text) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("/._-:=@,+").find(c) != std::string_view::npos;
  };
  if (!text.empty() && std::ranges::all_of(text, plain)) return std::string(text);
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

std::string set_command(const ConfigFacts& config, std::string_view key, std::string_view value) {
  return fmt::format("echo {} >> {}", shell_word(fmt::format("{}={}", key, value)),
                     shell_word(config.file));
}

Advice advice_of(const DoctorFacts& facts, const Trouble& trouble) {
  if (!facts.provider || facts.provider->remedies == nullptr) return {};
  return facts.provider->remedies->advise(trouble);
}

std::vector<std::string> remedy_of(const DoctorFacts& facts, const Advice& advice) {
  auto remedy = advice.commands;
  for (const auto& [key, value] : advice.settings) {
    remedy.push_back(set_command(facts.config, key, value));
  }
  if (!advice.settings.empty()) remedy.emplace_back(restart_command);
  return remedy;
}

DoctorReport in_order(std::vector<Finding> findings) {
  calm_breaker(findings);
  std::ranges::stable_sort(findings, [](const Finding& a, const Finding& b) {
    return std::pair(a.severity, rank_of(a)) < std::pair(b.severity, rank_of(b));
  });
  for (const auto& pair : covers) {
    if (std::ranges::find(findings, pair.more, &Finding::id) == findings.end()) continue;
    std::erase_if(findings, [&](const Finding& each) { return each.id == pair.less; });
  }
  DoctorReport report;
  std::set<std::string> seen;
  for (auto& each : findings) {
    if (seen.insert(each.id).second) report.findings.push_back(std::move(each));
  }
  return report;
}

DoctorReport diagnose(const DoctorFacts& facts) {
  std::vector<Finding> findings;
  for (const auto rule : {diagnose_configuration, diagnose_provider, diagnose_service,
                          diagnose_usage, diagnose_host}) {
    rule(facts, findings);
  }
  return in_order(std::move(findings));
}

}  // namespace betrace::kms
