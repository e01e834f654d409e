// The service's own Ed25519 key: made with the first tenant, wrapped by the provider, published. It
// signs the record of every tenant's public key, so that a key slipped into the store is noticed
// without asking the provider. Thread-safe; get() blocks on store and provider, the rest on the
// store at most.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "betrace/kms/clock.h"
#include "betrace/kms/key_store.h"

#include "core/cached_keys.h"
#include "core/key_opener.h"

namespace betrace::kms {

class ServiceKey {
 public:
  ServiceKey(KeyStore& store, KeyOpener& opener, const Clock& clock);

  // The signing key, made and stored when there is none yet.
  Result<std::shared_ptr<const SigningKey>> get(const CallContext& call);
  struct PublicHalf {
    KeyId id;
    Bytes bytes;  // 32
  };
  // Errors: key_not_found before the first tenant.
  Result<PublicHalf> public_half(const CallContext& call);
  // Forgets what it read, after the store said that the service's keys changed.
  void evict();

 private:
  Result<KeyRecord> make(const CallContext& call);

  KeyStore& store_;
  KeyOpener& opener_;
  const Clock& clock_;
  std::mutex making_;  // held while loading or making: one at a time
  std::mutex mutex_;   // of the members below
  std::shared_ptr<const SigningKey> key_;
  std::optional<PublicHalf> public_half_;
};

}  // namespace betrace::kms
