#include "core/usage_meter.h"

namespace betrace::kms {
namespace {

constexpr std::chrono::hours window{1};
constexpr std::chrono::minutes between_samples{1};

// What grows only; size is what it is now.
CacheStatistics difference(const CacheStatistics& now, const CacheStatistics& before) {
  CacheStatistics out = now;
  out.hits -= before.hits;
  out.misses -= before.misses;
  out.evicted_size -= before.evicted_size;
  out.evicted_expired -= before.evicted_expired;
  out.evicted_explicit -= before.evicted_explicit;
  for (std::size_t i = 0; i < out.larger.size(); ++i) {
    out.larger[i] -= before.larger[i];
    out.longer[i] -= before.longer[i];
  }
  return out;
}

}  // namespace

void UsageMeter::sample(Time now, const Counters& counters) {
  const std::lock_guard lock(mutex_);
  if (now - samples_.back().first >= between_samples) samples_.emplace_back(now, counters);
  while (samples_.size() > 1 && now - samples_.front().first > window) samples_.pop_front();
}

UsageFacts UsageMeter::since_an_hour(Time now, const Counters& counters) const {
  const std::lock_guard lock(mutex_);
  const auto& [since, before] = samples_.front();
  return {.window = std::chrono::ceil<std::chrono::seconds>(now - since),
          .signing = difference(counters.signing, before.signing),
          .encryption = difference(counters.encryption, before.encryption),
          .decryptions = counters.decryptions - before.decryptions,
          .refused_ciphertexts = counters.refused_ciphertexts - before.refused_ciphertexts,
          .refused_wrappings = counters.refused_wrappings - before.refused_wrappings};
}

}  // namespace betrace::kms
