// Seals what the service keeps for itself outside the store, under an AES key of the service's own,
// which is in the store and wrapped like every other: by each provider, and moved with the rest
// when the provider changes. Thread-safe; the calls block on store and provider.
#pragma once

#include <memory>
#include <mutex>
#include <string_view>

#include "betrace/kms/clock.h"
#include "betrace/kms/key_store.h"

#include "core/cached_keys.h"
#include "core/key_opener.h"

namespace betrace::kms {

class ServiceSeal {
 public:
  // All must outlive this.
  ServiceSeal(KeyStore& store, KeyOpener& opener, const Clock& clock)
      : store_(store), opener_(opener), clock_(clock) {}

  // AES-256-GCM, with the nonce in front; `purpose` is bound to it. Errors: those of store and
  // provider.
  Result<Bytes> seal(const CallContext& call, std::string_view purpose, const SecretBytes& secret);
  // Errors: corrupt when it was sealed under another key or for another purpose; those of store and
  // provider.
  Result<SecretBytes> open(const CallContext& call, std::string_view purpose, ByteView sealed);

 private:
  Result<std::shared_ptr<const EncryptionKey>> key(const CallContext& call);
  Result<KeyRecord> make(const CallContext& call);

  KeyStore& store_;
  KeyOpener& opener_;
  const Clock& clock_;
  std::mutex mutex_;
  std::shared_ptr<const EncryptionKey> key_;
};

}  // namespace betrace::kms
