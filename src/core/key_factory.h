// Makes keys: the first ones of a tenant, and successors, each vouched for by the service key and,
// where it is believed, by its predecessor. Stores nothing. Thread-safe; blocks on store and
// provider.
#pragma once

#include <memory>

#include "betrace/kms/clock.h"

#include "core/key_opener.h"
#include "core/service_key.h"

namespace betrace::kms {

class KeyFactory {
 public:
  KeyFactory(KeyOpener& opener, ServiceKey& service_key, const Clock& clock)
      : opener_(opener), service_key_(service_key), clock_(clock) {}

  Result<KeyRecord> first(const CallContext& call, const TenantId& tenant, KeyType type);
  // `opened` is the predecessor's key where somebody has it; else a signing predecessor is
  // unwrapped from its record, which must have its wrappings.
  Result<KeyRecord> successor(const CallContext& call, const KeyRecord& predecessor,
                              std::shared_ptr<const SigningKey> opened);
  // Of a predecessor that is not believed.
  Result<KeyRecord> successor_after_compromise(const CallContext& call,
                                               const KeyRecord& predecessor);

 private:
  Result<KeyRecord> make(const CallContext& call, const TenantId& tenant, KeyType type,
                         std::uint32_t version);

  KeyOpener& opener_;
  ServiceKey& service_key_;
  const Clock& clock_;
};

}  // namespace betrace::kms
