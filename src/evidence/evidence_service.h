// Compliance spans signed and verified by a key service: documents taken apart, spans of one tenant
// signed together, what each came to counted. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "betrace/kms/authorizer.h"
#include "betrace/kms/evidence.h"

#include "base/executor.h"
#include "evidence/frameworks.h"
#include "evidence/log_slot.h"
#include "evidence/logged_spans.h"
#include "evidence/span.h"
#include "evidence/span_keys.h"
#include "telemetry/metrics.h"

namespace betrace::kms {

// All of them must outlive the service.
struct EvidenceParts {
  KeyService& keys;
  StatementSigner& signer;
  const Authorizer& authorizer;  // asked for each tenant: "sign-spans", "verify-spans"
  Metrics& metrics;
  Frameworks frameworks;
  // Makes a tenant for its first span; empty: it must be there.
  SpanKeys::CreateTenant create_tenant = {};
  // Every span is in it before it is answered; none: signatures alone.
  const LogSlot* log = nullptr;
  Executor* blocking = nullptr;  // where the log is searched; needed with `log`
};

class EvidenceService final : public Evidence {
 public:
  explicit EvidenceService(EvidenceParts parts)
      : parts_(std::move(parts)),
        keys_(parts_.keys, parts_.signer, parts_.create_tenant),
        logged_(parts_.log, parts_.blocking) {}

  void sign_spans(CallContext call, std::string_view document,
                  Done<Items<Result<WipedString>>> done) override;
  void verify_spans(CallContext call, std::string_view document,
                    Done<Items<Result<SpanVerdict>>> done) override;

 private:
  struct Signing;
  struct Verifying;
  void sort(Signing& job, std::size_t i, std::vector<std::size_t>& to_sign,
            std::vector<std::size_t>& to_verify) const;
  void sort(Verifying& job, std::size_t i) const;
  // `n`: of those with a signature.
  void take_verification(const std::shared_ptr<Verifying>& job, std::size_t n,
                         const Result<Verification>& verification);
  void look_for_proof(const std::shared_ptr<Verifying>& job, std::size_t n, SystemTime revoked_at,
                      SpanVerdict verdict);

  const EvidenceParts parts_;
  const SpanKeys keys_;
  const LoggedSpans logged_;
};

}  // namespace betrace::kms
