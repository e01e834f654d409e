// Spans of many tenants signed and verified by a key service: one call for the spans of one tenant.
// Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "betrace/kms/evidence.h"
#include "betrace/kms/key_service.h"

#include "evidence/span.h"

namespace betrace::kms {

class SpanKeys {
 public:
  // Makes a tenant for its first span; empty: it must be there.
  using CreateTenant =
      std::function<void(const CallContext&, const TenantId&, Done<TenantDescription>)>;
  // What is given must outlive this.
  SpanKeys(KeyService& keys, StatementSigner& signer, CreateTenant create_tenant)
      : keys_(keys), signer_(signer), create_tenant_(std::move(create_tenant)) {}

  // A signature for each span, in order; the spans stay where they are until `done`. Errors of
  // each: those of KeyService::sign().
  using Signatures = std::vector<Result<Signature>>;
  void sign(const CallContext& call, std::vector<const ComplianceSpan*> spans,
            std::move_only_function<void(Signatures)> done) const;

  // Whether each tenant has an active signing key, or could be made; the key itself is not needed,
  // nor the provider. Errors of each: tenant_not_found, destroyed, store_unavailable, overloaded;
  // those of making it.
  using Tenants = std::map<TenantId, Status>;
  void find_tenants(const CallContext& call, Tenants tenants,
                    std::move_only_function<void(Tenants)> done) const;

  // Likewise; the spans have no fault. Errors of each: those of KeyService::verify().
  using Verifications = std::vector<Result<Verification>>;
  void verify(const CallContext& call, std::vector<const SignedSpan*> spans,
              std::move_only_function<void(Verifications)> done) const;

 private:
  struct Signing;
  struct Verifying;
  void sign_tenant(const std::shared_ptr<Signing>& job, const TenantId& tenant,
                   std::shared_ptr<const std::vector<std::size_t>> which, bool may_create) const;

  KeyService& keys_;
  StatementSigner& signer_;
  const CreateTenant create_tenant_;
};

// What a verification came to; an error says that nobody knows.
Result<SpanVerdict> verdict_of(const SignedSpan& span, const Result<Verification>& verification);

}  // namespace betrace::kms
