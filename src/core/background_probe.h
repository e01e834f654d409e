// What is asked of the provider every ten seconds, beside the circuit breakers: DescribeKey, then
// Decrypt of a sentinel; GenerateDataKey and Encrypt at the start and every ten minutes. A call
// that was refused is tried each time until it works, and keeps none of the others from being
// tried; only a provider that does not answer is not asked for more. For one thread.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <stop_token>
#include <string>

#include "betrace/kms/clock.h"
#include "betrace/kms/monitor.h"
#include "betrace/kms/provider.h"

namespace betrace::kms {

struct ProbeOptions {
  std::chrono::milliseconds call_timeout{std::chrono::seconds(5)};
  std::chrono::milliseconds data_key_interval{std::chrono::minutes(10)};
};

class BackgroundProbe {
 public:
  // Both must outlive it. `stop` cancels calls under way.
  BackgroundProbe(Provider& provider, const Clock& clock, ProbeOptions options,
                  std::stop_token stop);

  struct Outcome {
    std::optional<Error> error;  // why the provider counts as down
    ProbeReport report;          // of every call, the last time that it was tried
  };
  // Blocks on the provider.
  Outcome run();

 private:
  CallContext call() const;
  template <class Try>
  Status record(const char* operation, Try attempt);
  bool failed_before(const std::string& operation) const;
  std::optional<Error> try_calls();
  void forget_all_but(const std::string& operation);
  Status describe();
  Status generate();
  Status encrypt();
  Status decrypt();

  Provider& provider_;
  const Clock& clock_;
  const ProbeOptions options_;
  const std::stop_token stop_;
  const SecretBytes secret_ = SecretBytes::random(32);
  std::optional<Wrapping> sentinel_;
  SecretBytes sentinel_plaintext_;
  std::optional<std::chrono::steady_clock::time_point> data_key_at_;
  std::map<std::string, ProbedCall> calls_;
  std::map<std::string, std::deque<std::chrono::microseconds>> latencies_;  // of good tries
  std::optional<MasterKeyInfo> key_;
};

}  // namespace betrace::kms
