// The four things that the service needs from its provider, each tried by itself under a context of
// its own, so that one which is refused says nothing of the others. Nothing is stored. For one
// thread, except that generate, encrypt and describe may run side by side.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "betrace/kms/clock.h"
#include "betrace/kms/monitor.h"
#include "betrace/kms/provider.h"

namespace betrace::kms {

class ProviderCalls {
 public:
  // Each call has `call_timeout`, and at most until the deadline of `call`. All must outlive this.
  ProviderCalls(Provider& provider, const Clock& clock, const CallContext& call,
                std::chrono::milliseconds call_timeout, EncryptionContext context);

  Status generate();
  Status encrypt();
  // Opens what generate() or encrypt() left. Errors: those of the provider; kms_unavailable when
  // there is nothing to open; corrupt.
  Status open();
  // Whether the provider lets us decrypt, when there is nothing to open: any answer but a refusal
  // will do. `master_key` is asked to do it.
  Status try_to_open(const std::string& master_key);
  Status describe();

  bool has_something_to_open() const { return data_key_ || wrapped_; }
  const std::optional<MasterKeyInfo>& key() const { return key_; }
  // The master key that generate() was answered by; empty when it was not.
  std::string wraps_under() const { return data_key_ ? data_key_->wrapped.master_key_id : ""; }

 private:
  CallContext attempt() const;

  Provider& provider_;
  const Clock& clock_;
  const CallContext& call_;
  const std::chrono::milliseconds call_timeout_;
  const EncryptionContext context_;
  const SecretBytes secret_ = SecretBytes::random(32);
  std::optional<DataKey> data_key_;
  std::optional<Wrapping> wrapped_;
  std::optional<MasterKeyInfo> key_;
};

// All four, live: those that do not need another's result side by side, each with `call_timeout`;
// one that was slow is tried again, up to five times, until it is not. Blocks.
ProbeReport examine_provider(Provider& provider, const Clock& clock,
                             std::chrono::milliseconds call_timeout);

// A call that took longer is slow: the manual's Issue 4, "High KMS Latency (>200ms)". Once or twice
// it is chance: that every one of so many tries was slow is a finding.
inline constexpr std::chrono::milliseconds slow_call_limit{200};
inline constexpr int slow_tries_min = 3;

}  // namespace betrace::kms
