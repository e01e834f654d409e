// Turns a stored key into one that can be used, and makes new ones: chooses the provider that
// wrapped it, unwraps, and checks that what came out is the key it claims to be. Thread-safe; the
// calls block on the provider.
#pragma once

#include <map>
#include <memory>
#include <string>

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
  // New keys are made by `current`; rows wrapped by another provider are opened by the pair under
  // its name. All providers must outlive this.
  KeyOpener(ProviderPair current, std::map<std::string, ProviderPair, std::less<>> others);

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
  // A record with its secret, active, not attested and not stored.
  Result<NewKey> make(const CallContext& call, const TenantId& tenant, KeyType type,
                      std::uint32_t version, SystemTime now);

 private:
  const ProviderPair* pair_for(std::string_view provider) const;
  Result<SecretBytes> unwrap(const CallContext& call, const KeyRecord& record);

  ProviderPair current_;
  std::map<std::string, ProviderPair, std::less<>> others_;
};

}  // namespace betrace::kms
