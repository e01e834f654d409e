// Turns a stored key into one that can be used, and makes new ones: chooses the provider that
// wrapped it, unwraps, and checks that what came out is the key it claims to be. Thread-safe; the
// calls block on the provider.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "betrace/kms/clock.h"
#include "betrace/kms/provider.h"

#include "core/cached_keys.h"

namespace betrace::kms {

// A provider per key type, because each type has a breaker of its own.
struct ProviderPair {
  Provider* signing = nullptr;
  Provider* encryption = nullptr;
  Provider& of(KeyType type) const { return *(type == KeyType::signing ? signing : encryption); }
};

class KeyOpener {
 public:
  // New keys are made by `current` and, where there is one, wrapped by `second` as well: either
  // alone opens them. Rows that others wrapped are opened by the instance of their provider's name,
  // of several by the one that can. All providers must outlive this.
  explicit KeyOpener(ProviderPair current, std::vector<ProviderPair> others = {},
                     std::optional<ProviderPair> second = {});
  KeyOpener(KeyOpener&& other) noexcept;
  KeyOpener& operator=(KeyOpener&& other) noexcept;

  // Whether opening the record leaves the process.
  bool is_remote(const KeyRecord& record) const;
  // Errors: wrapped_elsewhere, corrupt, and the provider's.
  Result<std::shared_ptr<const SigningKey>> open_signing(const CallContext& call,
                                                         const KeyRecord& record);
  Result<std::shared_ptr<const EncryptionKey>> open_encryption(const CallContext& call,
                                                               const KeyRecord& record,
                                                               std::shared_ptr<NonceBudget> budget);

  struct NewKey {
    KeyRecord record;
    SecretBytes secret;  // 32 bytes
  };
  // Where new keys go, one or two: an alias says nothing about the master key behind it. Asks the
  // providers. Errors: invalid_argument when two that must differ lead to one master key.
  Result<std::vector<MasterKey>> targets(const CallContext& call);
  // The record's secret wrapped by those of `targets` that it is not wrapped by yet, and opened
  // again to be sure.
  Result<std::vector<Wrapping>> rewrap(const CallContext& call, const KeyRecord& record,
                                       std::span<const MasterKey> targets);
  // Whether a configured provider has this name.
  bool knows(std::string_view provider) const;

  // A record with its secret, active, not attested and not stored.
  Result<NewKey> make(const CallContext& call, const TenantId& tenant, KeyType type,
                      std::uint32_t version, SystemTime now);

 private:
  Result<Wrapping> wrap(const CallContext& call, std::size_t instance, const SecretBytes& secret,
                        const EncryptionContext& context, KeyType type);
  std::vector<std::size_t> candidates(const Wrapping& wrapping) const;
  Result<SecretBytes> unwrap(const CallContext& call, const KeyRecord& record);
  Result<SecretBytes> unwrap(const CallContext& call, const KeyRecord& record,
                             const Wrapping& wrapping, const std::vector<std::size_t>& tried);

  std::vector<ProviderPair> instances_;  // those that wrap first
  std::size_t wrapping_ = 1;             // how many do
  mutable std::mutex mutex_;
  std::map<MasterKey, std::size_t> openers_;  // which instance has opened what a master key wrapped
};

}  // namespace betrace::kms
