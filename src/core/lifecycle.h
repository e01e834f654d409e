// The ends of keys over a store whose other daemons must follow. A tenant is destroyed in steps
// that survive a crash, each written down before it is taken:
//   closed      no daemon uses its keys any more; a note says what was asked for
//   destroyed   secrets overwritten and deleted, in one commit with a note of what was destroyed
//   certified   the probe has failed, the service key has signed what happened
//   scrubbed    the store's files do not hold the deleted bytes any more
//   buried      the certificate stands outside the store, where no restored backup undoes it
// resume() goes on where a daemon, this one or another, was interrupted.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "betrace/kms/clock.h"
#include "betrace/kms/key_lifecycle.h"
#include "betrace/kms/key_store.h"

#include "base/executor.h"
#include "core/destruction.h"
#include "core/epoch_keeper.h"
#include "core/key_service_impl.h"
#include "core/membership.h"
#include "core/witness.h"

namespace betrace::kms {

// All of them must outlive it.
struct LifecycleParts {
  KeyStore& store;
  KeyServiceImpl& keys;
  Membership& membership;
  EpochKeeper& epochs;
  Witness& witness;
  Executor& provider_threads;
  const Clock& clock;
  // Called before a signing key is revoked, on a provider thread: the last moment to prove what it
  // has signed older than its revocation.
  std::function<void()> before_revocation = {};
};

struct LifecycleOptions {
  // An encryption version that was replaced longer ago may be destroyed unasked; zero: never.
  std::chrono::days ciphertext_age_max{0};
};

class Lifecycle final : public KeyLifecycle {
 public:
  Lifecycle(LifecycleParts parts, LifecycleOptions options)
      : parts_(std::move(parts)), options_(options) {}

  void revoke(CallContext call, TenantId tenant, KeyId key, std::string reason,
              Done<Revocation> done) override;
  void destroy_key(CallContext call, TenantId tenant, DestroyKey request,
                   Done<KeyRecord> done) override;
  void destroy_tenant(CallContext call, TenantId tenant, Done<Destruction> done) override;

  // Goes on with destructions that were begun and not finished; blocks on store and provider. To be
  // called now and then.
  Status resume();

 private:
  template <class T, class Work>
  void change(CallContext call, Done<T> done, Work work);
  Result<Revocation> revoke_now(const CallContext& call, const TenantId& tenant, const KeyId& key,
                                const std::string& reason);
  Result<KeyRecord> destroy_key_now(const CallContext& call, const TenantId& tenant,
                                    const DestroyKey& request);

  Result<DestructionNote> close(const CallContext& call, const TenantId& tenant);
  Result<DestructionNote> finish(const CallContext& call, DestructionNote note);
  Status destroy_secrets(const CallContext& call, DestructionNote& note);
  Status certify(const CallContext& call, DestructionNote& note);
  Status scrub(const CallContext& call);
  void resume_one(const CallContext& call, DestructionNote note);
  void finish_when_applied(CallContext call, DestructionNote note, Done<Destruction> done);

  const LifecycleParts parts_;
  const LifecycleOptions options_;
};

}  // namespace betrace::kms
