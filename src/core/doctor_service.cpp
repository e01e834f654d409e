// What the running service shows: breakers, rotation, the store and what is in it, evidence.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/doctor_rules.h"

namespace betrace::kms {
namespace {

void find_breakers(const DoctorFacts& facts, Findings& out) {
  std::vector<std::string> not_closed;
  bool open = false;
  for (const auto& breaker : facts.breakers) {
    if (breaker.state == BreakerState::closed) continue;
    open |= breaker.state == BreakerState::open;
    not_closed.push_back(fmt::format("Circuit breaker '{}' is {}", breaker.name,
                                     breaker.state == BreakerState::open
                                         ? "OPEN - blocking all requests"
                                         : "HALF_OPEN - testing recovery"));
  }
  if (not_closed.empty()) return;
  auto& it = out.emplace_back(
      finding("breaker-open", open ? Severity::critical : Severity::warning,
              open ? "Calls of the provider are blocked" : "Calls of the provider are on trial"));
  it.evidence = fmt::format("{}", fmt::join(not_closed, "; "));
  it.cause = "Half of the last calls failed; the breaker closes by itself once calls go well again";
  it.remedy = {fmt::format("curl -s {}/q/metrics | grep kms_errors_total", facts.config.url),
               "betrace-kms validate"};
}

void find_rotation(const DoctorFacts& facts, Findings& out) {
  const auto& config = facts.config;
  const auto overdue = facts.store ? facts.store->overdue_tenants : 0;
  if (overdue > 0) {
    auto& it = out.emplace_back(
        finding("rotation-overdue", Severity::critical,
                fmt::format("{} of {} tenants have keys older than {} days", overdue,
                            facts.store->tenants, config.rotation_max_age.count())));
    if (const auto& oldest = facts.store->oldest_active_key) {
      it.evidence = fmt::format("the oldest active key is {} days old; ",
                                std::chrono::floor<std::chrono::days>(facts.now - *oldest).count());
    }
    it.evidence += fmt::format("kms.rotation.enabled={}", config.rotation_enabled);
    it.cause = config.rotation_enabled ? "The scheduled runs fail, or cannot keep up"
                                       : "The scheduler is switched off";
    if (!config.rotation_enabled) {
      it.remedy = {set_command(config, "kms.rotation.enabled", "true"), restart_command};
    }
    it.remedy.emplace_back("betrace-kms rotate --all");
    return;
  }
  if (config.rotation_enabled) return;
  auto& it = out.emplace_back(
      finding("rotation-off", Severity::warning, "Keys are not rotated by themselves"));
  it.evidence = "kms.rotation.enabled=false";
  it.cause = "The scheduler is switched off";
  it.remedy = {set_command(config, "kms.rotation.enabled", "true"), restart_command};
}

// What the second provider wraps under; one that has not answered yet may be any of its name.
bool is_by_second(const DoctorFacts& facts, const WrappingCount& count) {
  if (!facts.second) return false;
  const auto& probe = facts.second->probe;
  return count.provider == probe.provider &&
         (probe.wraps_under.empty() || count.master_key_id == probe.wraps_under);
}

void find_wrapped_once(const DoctorFacts& facts, Findings& out) {
  if (!facts.store || facts.store->not_wrapped_twice == 0) return;
  auto& it = out.emplace_back(finding(
      "wrapped-once", Severity::warning,
      fmt::format("{} keys are not wrapped by both master keys", facts.store->not_wrapped_twice)));
  std::vector<std::string> held;
  for (const auto& [count, readable] : facts.store->holders) {
    held.push_back(
        fmt::format("{} keys under {} {}", count.keys, count.provider, count.master_key_id));
  }
  it.evidence = fmt::format("{}", fmt::join(held, "; "));
  it.cause = "They were made before the second provider was configured, and have not moved yet";
  it.remedy = {"betrace-kms migrate --dry-run", "betrace-kms migrate"};
}

// Keys under a master key other than the current ones.
void find_wrappings(const DoctorFacts& facts, Findings& out) {
  if (!facts.store || !facts.provider || facts.provider->probe.wraps_under.empty()) return;
  const auto& probe = facts.provider->probe;
  std::vector<std::string> elsewhere;
  std::uint64_t keys = 0, of_same_provider = 0;
  bool lost = false, by_others = false;
  for (const auto& [count, readable] : facts.store->holders) {
    const bool same_provider = count.provider == probe.provider;
    if (same_provider && count.master_key_id == probe.wraps_under) continue;
    if (is_by_second(facts, count)) continue;
    keys += count.keys;
    of_same_provider += same_provider ? count.keys : 0;
    lost |= !readable;
    by_others |= !same_provider;
    elsewhere.push_back(fmt::format("{} keys under {} {}{}", count.keys, count.provider,
                                    count.master_key_id,
                                    readable ? "" : ", which no configured provider opens"));
  }
  if (keys == 0) return;
  const std::vector<std::string> remedy = {"betrace-kms migrate --dry-run", "betrace-kms migrate"};
  if (probe.key && !probe.key->alias.empty() && of_same_provider > 0) {
    auto& it = out.emplace_back(
        finding("alias-moved", Severity::warning,
                fmt::format("{} names another master key than before", probe.key->alias)));
    it.evidence = fmt::format("{} is {} now; {}", probe.key->alias, probe.wraps_under,
                              fmt::join(elsewhere, "; "));
    it.cause = "Somebody has moved the alias: the keys need both master keys until they have moved";
    it.remedy = remedy;
    if (!lost && !by_others) return;
  }
  const auto severity = lost ? Severity::critical : by_others ? Severity::warning : Severity::info;
  auto& it =
      out.emplace_back(finding("wrapped-elsewhere", severity,
                               fmt::format("{} keys are wrapped by another master key", keys)));
  it.evidence = fmt::format("{}; new ones under {} {}", fmt::join(elsewhere, "; "), probe.provider,
                            probe.wraps_under);
  it.cause = lost ? "The provider that wrapped them is not configured any more"
                  : "The master key was changed, and the keys have not moved to it yet";
  it.remedy = remedy;
  if (lost) {
    const auto& holders = facts.store->holders;
    const auto unknown = std::ranges::find(holders, false, &MigrationState::Holder::readable);
    it.remedy.insert(it.remedy.begin(), {set_command(facts.config, "betrace.kms.previous-provider",
                                                     unknown->count.provider),
                                         restart_command});
  }
}

void find_store(const DoctorFacts& facts, Findings& out) {
  if (!facts.store || !facts.store->error) return;
  auto& it = out.emplace_back(
      finding("store-unavailable", Severity::critical, "The store does not answer"));
  it.evidence = facts.store->error->message;
  it.cause = "The file, its disk or another program that holds it is in the way";
  it.remedy = {"df -h " + shell_word(facts.config.data_dir),
               "ls -la " + shell_word(facts.config.data_dir)};
}

void find_evidence_log(const EvidenceFacts& evidence, Findings& out) {
  if (evidence.unusable.empty() && evidence.unpublished.empty()) return;
  const bool unusable = !evidence.unusable.empty();
  auto& it = out.emplace_back(
      unusable ? finding("evidence-log", Severity::critical, "No compliance spans are signed")
               : finding("evidence-log", Severity::warning, "Evidence gets no checkpoints"));
  it.evidence = unusable ? evidence.unusable : evidence.unpublished;
  it.cause = unusable ? "Another process has the log's folder, or a file in it is damaged"
                      : "The log's folder cannot be written, or the provider does not open its key";
  it.remedy = {"df -h " + shell_word(evidence.folder), "ls -la " + shell_word(evidence.folder)};
}

void find_otlp_queue(const DoctorFacts& facts, Findings& out) {
  const auto& evidence = *facts.evidence;
  if (evidence.next_in_line.empty() || evidence.queue_bytes < evidence.queue_bytes_max / 2) return;
  const bool full = evidence.queue_bytes >= evidence.queue_bytes_max / 10 * 9;
  auto& it = out.emplace_back(
      finding("otlp-queue", full ? Severity::critical : Severity::warning,
              fmt::format("{} MiB of OTLP wait to be forwarded", evidence.queue_bytes >> 20)));
  it.evidence =
      fmt::format("{} has not taken them; when {} MiB wait, what comes in is refused (429)",
                  evidence.next_in_line, evidence.queue_bytes_max >> 20);
  it.cause = "The next in line is away, refuses, or is slower than what comes in";
  it.remedy = {"curl -sv -o /dev/null " + shell_word(evidence.next_in_line),
               fmt::format("curl -s {}/q/metrics | grep kms_otlp", facts.config.url),
               set_command(facts.config, "betrace.otlp.queue-bytes",
                           std::to_string(2 * evidence.queue_bytes_max))};
}

}  // namespace

void diagnose_service(const DoctorFacts& facts, Findings& out) {
  find_breakers(facts, out);
  find_store(facts, out);
  find_rotation(facts, out);
  find_wrappings(facts, out);
  find_wrapped_once(facts, out);
  if (facts.evidence) {
    find_evidence_log(*facts.evidence, out);
    find_otlp_queue(facts, out);
  }
  if (!facts.service_unreachable) return;
  auto& it = out.emplace_back(
      finding("service-unreachable", Severity::warning, "The service does not answer"));
  it.evidence = *facts.service_unreachable;
  it.cause =
      "It does not run, or listens elsewhere: cache, breakers and rotation were not examined";
  it.remedy = {"systemctl status betrace-kms", "systemctl start betrace-kms"};
}

}  // namespace betrace::kms
