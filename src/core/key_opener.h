// Turns a stored key into one that can be used, and makes new ones: chooses the provider that
// wrapped it, unwraps, and checks that what came out is the key it claims to be. Thread-safe; the
// calls block on the provider.
#pragma once

#include <map>
#include <memory>
#include <mutex>
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
  // New keys are made by `current`; rows that others wrapped are opened by the instance of their
  // provider's name, of several by the one that can. All providers must outlive this.
  explicit KeyOpener(ProviderPair current, std::vector<ProviderPair> others = {});
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
  // The record's secret wrapped by the current provider, and opened again to be sure.
  Result<Wrapping> rewrap(const CallContext& call, const KeyRecord& record);
  // Whether a configured provider has this name.
  bool knows(std::string_view provider) const;
  const ProviderPair& current() const { return instances_.front(); }

  // A record with its secret, active, not attested and not stored.
  Result<NewKey> make(const CallContext& call, const TenantId& tenant, KeyType type,
                      std::uint32_t version, SystemTime now);

 private:
  using MasterKey = std::pair<std::string, std::string>;  // provider, master key id
  std::vector<std::size_t> candidates(const Wrapping& wrapping) const;
  Result<SecretBytes> unwrap(const CallContext& call, const KeyRecord& record);
  Result<SecretBytes> unwrap(const CallContext& call, const KeyRecord& record,
                             const Wrapping& wrapping, const std::vector<std::size_t>& tried);

  std::vector<ProviderPair> instances_;  // the current one first
  mutable std::mutex mutex_;
  std::map<MasterKey, std::size_t> openers_;  // which instance has opened what a master key wrapped
};

}  // namespace betrace::kms
