// What the last hour has shown: hits and misses, what other settings would have saved, and what
// callers were refused.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "betrace/kms/provider.h"

#include "core/doctor_rules.h"

namespace betrace::kms {
namespace {

std::string span_of(const UsageFacts& usage) {
  const auto minutes = std::chrono::ceil<std::chrono::minutes>(usage.window).count();
  return minutes <= 1 ? "the last minute" : fmt::format("the last {} minutes", minutes);
}

constexpr std::uint64_t lookups_to_judge = 100;
constexpr double hit_rate_target = 0.8;
// As the alert KMSHighAPIUsage.
constexpr std::uint64_t misses_an_hour = 1000;
constexpr std::size_t factors[] = {2, 4, 8};  // of CacheStatistics::larger and ::longer

double rate_of(std::uint64_t hits, std::uint64_t misses) {
  return static_cast<double>(hits) / static_cast<double>(std::max<std::uint64_t>(1, hits + misses));
}

// What a change of one setting would have given.
struct Change {
  std::string_view key;
  std::uint64_t value = 0;
  double hit_rate = 0;
};

// Of size and lifetime the one that would have saved most, at the least factor that does nearly
// all.
std::optional<Change> best_change(const CacheStatistics& cache, std::uint64_t entries,
                                  std::string_view ttl_key, std::chrono::minutes ttl) {
  std::optional<Change> best;
  const auto consider = [&](std::string_view key, std::uint64_t value, const auto& saved) {
    for (std::size_t i = 0; i < std::size(factors); ++i) {
      const auto rate = rate_of(cache.hits + saved[i], cache.misses - saved[i]);
      if (saved[i] == 0 || (best && rate < best->hit_rate + 0.02)) continue;
      best = Change{.key = key, .value = value * factors[i], .hit_rate = rate};
    }
  };
  consider("kms.cache.max-size", entries, cache.larger);
  consider(ttl_key, static_cast<std::uint64_t>(ttl.count()), cache.longer);
  return best;
}

struct Judged {
  std::string_view name, ttl_key;
  const CacheStatistics& use;
  std::chrono::minutes ttl;
};

std::vector<Judged> caches_of(const DoctorFacts& facts) {
  const auto& config = facts.config;
  return {{"signing", "kms.cache.private-key-ttl-minutes", facts.usage->signing,
           config.private_key_ttl},
          {"encryption", "kms.cache.encryption-key-ttl-minutes", facts.usage->encryption,
           config.encryption_key_ttl}};
}

// What another size or lifetime would have given, in words and as commands.
void suggest(const DoctorFacts& facts, Finding& it) {
  std::vector<std::string> words;
  for (const auto& cache : caches_of(facts)) {
    const auto change =
        best_change(cache.use, facts.config.cache_entries_max, cache.ttl_key, cache.ttl);
    if (!change) continue;
    words.push_back(fmt::format("{}={} would have given {} keys a hit rate of {:.0f} %",
                                change->key, change->value, cache.name, change->hit_rate * 100));
    auto command = set_command(facts.config, change->key, std::to_string(change->value));
    if (std::ranges::find(it.remedy, command) == it.remedy.end()) {
      it.remedy.push_back(std::move(command));
    }
  }
  if (words.empty()) {
    it.cause =
        "The keys were not in the cache before: no size and no lifetime would have helped, "
        "warming does";
    it.remedy.push_back(set_command(facts.config, "kms.cache.warm-tenants", "1000"));
  } else {
    it.cause =
        fmt::format("Keys leave the cache before they are used again: {}", fmt::join(words, "; "));
  }
  it.remedy.emplace_back(restart_command);
}

void find_low_hit_rate(const DoctorFacts& facts, Findings& out) {
  std::vector<std::string> low;
  for (const auto& cache : caches_of(facts)) {
    const auto lookups = cache.use.hits + cache.use.misses;
    const auto rate = rate_of(cache.use.hits, cache.use.misses);
    if (lookups < lookups_to_judge || rate >= hit_rate_target) continue;
    low.push_back(fmt::format("{} keys: {} hits, {} misses, {:.0f} %", cache.name, cache.use.hits,
                              cache.use.misses, rate * 100));
  }
  if (low.empty()) return;
  auto& it = out.emplace_back(
      finding("cache-hit-rate-low", Severity::warning, "The cache hit rate is below 80 %"));
  it.evidence = fmt::format("{}, in {}", fmt::join(low, "; "), span_of(*facts.usage));
  suggest(facts, it);
}

void find_high_cost(const DoctorFacts& facts, Findings& out) {
  const auto& usage = *facts.usage;
  const auto misses = usage.signing.misses + usage.encryption.misses;
  if (misses <= misses_an_hour) return;
  const auto hits = usage.signing.hits + usage.encryption.hits;
  auto& it = out.emplace_back(finding("high-cost", Severity::warning,
                                      "More than 1000 keys an hour come from the provider"));
  it.evidence = fmt::format("{} misses in {}, hit rate {:.0f} %", misses, span_of(usage),
                            rate_of(hits, misses) * 100);
  const auto* remedies = facts.provider ? facts.provider->remedies : nullptr;
  if (const auto prices = remedies ? remedies->prices() : std::nullopt) {
    // Per hour, for 30 days; a shorter time than an hour is not taken for a whole one's pace.
    const auto calls = static_cast<double>(misses) * 24 * 30;
    it.evidence += fmt::format(
        "; at this rate a month has {:.0f} calls: ${:.2f}, and ${:.2f} a "
        "master key",
        calls, calls / 10'000 * prices->ten_thousand_calls, prices->key_month);
  }
  suggest(facts, it);
}

void find_refused_contexts(const DoctorFacts& facts, Findings& out) {
  const auto& usage = *facts.usage;
  if (usage.refused_ciphertexts == 0 && usage.refused_wrappings == 0) return;
  const auto span = span_of(usage);
  const bool own_keys = usage.refused_wrappings > 0;
  auto& it = out.emplace_back(finding(
      "context-mismatch", own_keys ? Severity::critical : Severity::warning,
      own_keys ? "The provider refused to open keys of the store" : "Ciphertexts were refused"));
  it.evidence =
      own_keys ? fmt::format("{} times in {}: {} or the ciphertext was altered",
                             usage.refused_wrappings, span, context_mismatch_message)
               : fmt::format(
                     "{} of {} texts in {}: {} or the ciphertext was "
                     "altered",
                     usage.refused_ciphertexts, usage.decryptions, span, context_mismatch_message);
  it.cause = own_keys ? "Rows of the store were exchanged or altered: each is bound to its tenant "
                        "and key type"
                      : "A caller decrypts with another context than it encrypted with: a name or "
                        "value differs, is missing, or is one too many";
  it.remedy = {
      fmt::format("grep 'encryption context' {} | tail -n 10", shell_word(facts.config.log_file)),
      "betrace-kms validate"};
}

}  // namespace

void diagnose_usage(const DoctorFacts& facts, Findings& out) {
  if (!facts.usage) return;
  find_low_hit_rate(facts, out);
  find_high_cost(facts, out);
  find_refused_contexts(facts, out);
}

}  // namespace betrace::kms
