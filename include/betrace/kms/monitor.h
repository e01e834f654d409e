// What the service knows about itself, for health, status, validate and doctor. Answers at once
// from the last background probe, except where a verb says otherwise. Thread-safe.
//
// The probe runs every 10 s beside the circuit breakers and counts in none of them: DescribeKey,
// then Decrypt of a stored sentinel; GenerateDataKey at start and every 10 minutes.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/key_service.h"
#include "betrace/kms/provider.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

struct HealthState {
  bool started = false;  // the first probe has come back, well or not
  bool up = false;       // the provider answered the last probe
  bool serving = true;   // warm tenants can be served
  std::string provider;
  std::chrono::milliseconds latency{};
  std::optional<Error> error;  // why not up
};

// One test of the manual's validation; `latency` is measured whether it passed or not.
struct ValidationTest {
  std::string name;  // "generate_data_key"
  std::optional<Error> failure;
  std::chrono::microseconds latency{};
};

struct ValidationReport {
  std::string provider;
  // generate_data_key, encrypt, decrypt, describe_key, key_retrieval_cache_miss,
  // key_retrieval_cache_hit, in this order; all of them, even after one failed.
  std::vector<ValidationTest> tests;
  std::vector<std::string> recommendations;
  bool passed() const;
};

// One call of the provider, tried by itself.
struct ProbedCall {
  std::string operation;  // "generate_data_key", "encrypt", "decrypt", "describe_key"
  std::optional<Error> error;
  std::chrono::microseconds latency{};  // the shortest of the tries
  int tries = 1;
};

// What a probe of the provider has found.
struct ProbeReport {
  std::string provider;
  std::vector<ProbedCall> calls;     // those that were tried
  std::optional<MasterKeyInfo> key;  // as describe_key answered it
  std::string wraps_under;           // the master key that a fresh data key names
};

enum class BreakerState : std::uint8_t { closed, open, half_open };

struct BreakerReport {
  std::string name;  // "kms-signing-key"
  BreakerState state = BreakerState::closed;
};

class Monitor {
 public:
  virtual ~Monitor() = default;
  virtual HealthState health() const = 0;
  // The last background probe; no calls before the first one has come back.
  virtual ProbeReport last_probe() const = 0;
  virtual std::vector<BreakerReport> breakers() const = 0;
  // Sentences for people, worst first; empty when all is well.
  virtual std::vector<std::string> issues() const = 0;
  // Calls the provider live, each test within `call`'s deadline; leaves nothing behind.
  virtual void validate(CallContext call, Done<ValidationReport> done) = 0;
};

}  // namespace betrace::kms
