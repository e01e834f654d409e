// What the provider's calls show: each was tried by itself, so that what is missing is named.
#include <algorithm>
#include <functional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/doctor_rules.h"
#include "core/provider_calls.h"

namespace betrace::kms {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Beyond five minutes signed requests are refused; half a minute is what a clock may be off.
constexpr seconds skew_refused{300}, skew_tolerated{60};

std::string permission(const ProviderFacts& facts, const std::string& operation) {
  return facts.remedies == nullptr ? operation : facts.remedies->permission(operation);
}

// The calls that failed in one way.
struct Failures {
  std::vector<std::string> operations, permissions, words;
  const Error* error = nullptr;  // of the first

  Failures(const ProviderFacts& facts, const std::function<bool(const Error&)>& such) {
    for (const auto& call : facts.probe.calls) {
      if (!call.error || !such(*call.error)) continue;
      if (error == nullptr) error = &*call.error;
      operations.push_back(call.operation);
      permissions.push_back(permission(facts, call.operation));
      words.push_back(fmt::format("{}: {}", permissions.back(), call.error->message));
    }
  }
  explicit operator bool() const { return error != nullptr; }
};

void explain(const DoctorFacts& facts, TroubleKind kind, const Failures& failures, Finding& it) {
  const auto& provider = *facts.provider;
  const auto advice =
      advice_of(facts, {.kind = kind,
                        .error = failures.error,
                        .key_id = provider.probe.key ? provider.probe.key->key_id : "",
                        .operations = failures.operations});
  if (!advice.cause.empty()) it.cause = advice.cause;
  it.remedy = remedy_of(facts, advice);
  it.remedy.emplace_back("betrace-kms validate");
}

// "2026-12-02T10:15:00Z"
std::string day_and_time(SystemTime at) {
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(std::chrono::floor<seconds>(at) - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     time.hours().count(), time.minutes().count(), time.seconds().count());
}

void find_skew(const DoctorFacts& facts, const Failures& denied, bool refused, Findings& out) {
  const auto skew = facts.provider->clock_skew.value_or(seconds(0));
  if (!refused && std::chrono::abs(skew) <= skew_tolerated) return;
  auto& it = out.emplace_back(finding(
      "clock-skew", refused ? Severity::critical : Severity::warning,
      fmt::format("This machine's clock is {} s {} the provider's", std::chrono::abs(skew).count(),
                  skew.count() < 0 ? "behind" : "ahead of")));
  it.evidence =
      refused ? fmt::format("{}", fmt::join(denied.words, "; "))
              : fmt::format("the provider's answers are dated {} s {} ours",
                            std::chrono::abs(skew).count(), skew.count() < 0 ? "after" : "before");
  it.cause =
      "The clock is not synchronised; requests that are dated more than five minutes off are "
      "refused";
  it.remedy = {"timedatectl set-ntp true", "timedatectl status"};
}

void find_denied(const DoctorFacts& facts, Findings& out) {
  const Failures denied(*facts.provider,
                        [](const Error& e) { return e.code == ErrorCode::kms_access_denied; });
  const auto skew = std::chrono::abs(facts.provider->clock_skew.value_or(seconds(0)));
  const bool by_clock = denied && skew >= skew_refused;
  find_skew(facts, denied, by_clock, out);
  if (!denied || by_clock) return;
  auto& it = out.emplace_back(
      finding("iam-denied", Severity::critical,
              fmt::format("Access denied: {}", fmt::join(denied.permissions, ", "))));
  it.evidence = fmt::format("{}", fmt::join(denied.words, "; "));
  it.cause = "Whoever owns the master key does not let the service use it";
  explain(facts, TroubleKind::access_denied, denied, it);
}

void find_key_state(const DoctorFacts& facts, Findings& out) {
  const auto& provider = *facts.provider;
  const Failures disabled(provider,
                          [](const Error& e) { return e.code == ErrorCode::kms_key_disabled; });
  const auto& key = provider.probe.key;
  const bool unusable = key && !key->usable;
  if (!disabled && !unusable) return;
  const bool pending = key && key->deletion_at;
  auto& it = out.emplace_back(
      pending ? finding("key-pending-deletion", Severity::critical,
                        "The master key is going to be deleted")
              : finding("key-disabled", Severity::critical, "The master key cannot be used"));
  if (key) it.evidence = fmt::format("{} is in state {}", key->key_id, key->state);
  if (pending) it.evidence += fmt::format("; it is deleted at {}", day_and_time(*key->deletion_at));
  for (const auto& words : disabled.words) {
    it.evidence += fmt::format("{}{}", it.evidence.empty() ? "" : "; ", words);
  }
  it.cause = pending ? "Somebody has scheduled its deletion: with it go all keys that it wraps"
                     : "Somebody has disabled it";
  explain(facts, pending ? TroubleKind::key_pending_deletion : TroubleKind::key_disabled, disabled,
          it);
}

void find_outage(const DoctorFacts& facts, Findings& out) {
  const auto& provider = *facts.provider;
  const Failures throttled(provider, [](const Error& e) { return e.throttled; });
  const Failures away(provider, [](const Error& e) {
    return !e.throttled &&
           (e.code == ErrorCode::kms_unavailable || e.code == ErrorCode::kms_timeout);
  });
  if (away) {
    auto& it = out.emplace_back(finding("provider-unreachable", Severity::critical,
                                        "The provider of the master key does not answer"));
    it.evidence = fmt::format("{}", fmt::join(away.words, "; "));
    it.cause = "The network, a name, a proxy or the provider itself is in the way";
    explain(facts, TroubleKind::unreachable, away, it);
  }
  if (throttled) {
    auto& it = out.emplace_back(finding("provider-throttled", Severity::warning,
                                        "The provider of the master key refuses our rate"));
    it.evidence = fmt::format("{}", fmt::join(throttled.words, "; "));
    it.cause = "More calls a second than its quota allows, by this service or by others";
    it.remedy = {set_command(facts.config, "kms.calls-per-second", "100"), restart_command};
  }
}

void find_refusals(const DoctorFacts& facts, Findings& out) {
  const auto& provider = *facts.provider;
  const Failures context(provider,
                         [](const Error& e) { return e.code == ErrorCode::invalid_ciphertext; });
  if (context) {
    auto& it = out.emplace_back(finding("context-mismatch", Severity::critical,
                                        "What was just wrapped is not opened again"));
    it.evidence = fmt::format("{}", fmt::join(context.words, "; "));
    it.cause = "The encryption context arrives altered, or the ciphertext does";
    explain(facts, TroubleKind::context_mismatch, context, it);
  }
  const Failures other(provider, [](const Error& e) {
    switch (e.code) {
      case ErrorCode::kms_access_denied:
      case ErrorCode::kms_key_disabled:
      case ErrorCode::kms_unavailable:
      case ErrorCode::kms_timeout:
      case ErrorCode::invalid_ciphertext:
        return false;
      default:
        return true;
    }
  });
  if (!other) return;
  auto& it = out.emplace_back(finding("provider-error", Severity::critical,
                                      "The provider of the master key answers with an error"));
  it.evidence = fmt::format("{}", fmt::join(other.words, "; "));
  it.cause = "It does not take the request as it is, or answers what no provider should";
  it.remedy = {"betrace-kms config", "betrace-kms validate"};
}

void find_slowness(const DoctorFacts& facts, Findings& out) {
  const auto& provider = *facts.provider;
  std::vector<std::string> slow;
  for (const auto& call : provider.probe.calls) {
    if (call.error || call.tries < slow_tries_min || call.latency <= slow_call_limit) continue;
    slow.push_back(
        fmt::format("{} {} ms", call.operation, duration_cast<milliseconds>(call.latency).count()));
  }
  if (slow.empty()) return;
  auto& it = out.emplace_back(
      finding("high-latency", Severity::warning, "The provider of the master key is slow"));
  it.evidence = fmt::format("{} (the shortest of several tries)", fmt::join(slow, ", "));
  if (provider.phases) it.evidence += "; the slowest: " + phases_text(*provider.phases);
  it.cause = "The master key is far away, or the way to it is long";
  explain(facts, TroubleKind::slow, Failures(provider, [](const Error&) { return false; }), it);
}

}  // namespace

std::string phases_text(const HttpPhases& phases) {
  const auto ms = [](std::chrono::microseconds from, std::chrono::microseconds to) {
    return std::max(0.0, std::chrono::duration<double, std::milli>(to - from).count());
  };
  const auto connected = std::max(phases.connect, phases.tls);
  return fmt::format("resolve {:.1f} ms, connect {:.1f} ms, TLS {:.1f} ms, first byte {:.1f} ms",
                     ms({}, phases.resolve), ms(phases.resolve, phases.connect),
                     phases.tls.count() == 0 ? 0.0 : ms(phases.connect, phases.tls),
                     ms(connected, phases.first_byte));
}

namespace {

void diagnose_one(const DoctorFacts& facts, Findings& out) {
  find_denied(facts, out);
  find_key_state(facts, out);
  find_outage(facts, out);
  find_refusals(facts, out);
  find_slowness(facts, out);
  if (facts.provider->remedies == nullptr) return;
  for (auto& [found, advice] : facts.provider->remedies->doubts()) {
    found.remedy = remedy_of(facts, advice);
    out.push_back(std::move(found));
  }
}

}  // namespace

void diagnose_provider(const DoctorFacts& facts, Findings& out) {
  if (facts.provider) diagnose_one(facts, out);
  if (!facts.second) return;
  DoctorFacts of_the_second{.now = facts.now, .config = facts.config};
  of_the_second.provider = facts.second;
  Findings found;
  diagnose_one(of_the_second, found);
  for (auto& each : found) {
    each.title += ", of the second provider";
    out.push_back(std::move(each));
  }
}

}  // namespace betrace::kms
