// The ends of keys: revoking a version, destroying one, destroying all of a tenant. Asynchronous as
// KeyService. Thread-safe.
//
// Revoking and destroying are acknowledged when every live daemon on the store has applied them or
// its lease has run out, so that `done` may take as long as a lease
// (betrace.kms.node-lease-seconds).
//
// Errors of every verb: tenant_not_found, store_unavailable; those of a provider where one is
// needed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/key.h"
#include "betrace/kms/key_service.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

struct Revocation {
  KeyRecord revoked;                   // as it is now, without wrappings
  std::optional<KeyRecord> successor;  // when the active version was revoked
};

// What shows that a tenant's secrets are gone.
struct Destruction {
  TenantId tenant;
  SystemTime destroyed_at;
  std::uint64_t signing_keys = 0, encryption_keys = 0;  // versions destroyed
  // Whether the store's files still hold what was deleted, or the certificate could not be signed;
  // the service goes on with it, and destroying again answers how far it is.
  bool pending = false;
  // DSSE envelope (JSON) of type application/vnd.betrace.destruction-certificate.v1+json, signed by
  // the service key; empty until it could be signed.
  std::string certificate;
};

class KeyLifecycle {
 public:
  virtual ~KeyLifecycle() = default;

  // The version signs and encrypts no more; what it signed before verifies, not trusted. An active
  // version gets a successor first, which the service key alone vouches for: a revoked key's word
  // is not taken. Revoking what is revoked answers it as it is. Errors: key_not_found, destroyed.
  virtual void revoke(CallContext call, TenantId tenant, KeyId key, std::string reason,
                      Done<Revocation> done) = 0;

  struct DestroyKey {
    KeyId key;
    bool unused = false;  // the caller says that nothing needs it any more
  };
  // The version's secret is overwritten and deleted; a signing key's public half stays. Answers the
  // record as it is then. Errors: key_not_found; conflict for an active version, and for an
  // encryption version that is neither said to be unused nor older than the configured bound.
  virtual void destroy_key(CallContext call, TenantId tenant, DestroyKey request,
                           Done<KeyRecord> done) = 0;

  // Cryptographic erasure: nothing encrypted for the tenant can be decrypted again, by anybody.
  // Public keys stay, so that old evidence verifies. A tenant that is destroyed answers as it was.
  virtual void destroy_tenant(CallContext call, TenantId tenant, Done<Destruction> done) = 0;
};

}  // namespace betrace::kms
