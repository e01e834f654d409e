// The first Authorizer and the first AuditSink: one administrator who may do everything and an
// anonymous reader who may look; a line in the log for what was done or refused.
// Both are thread-safe.
#pragma once

#include "betrace/kms/audit_sink.h"
#include "betrace/kms/authorizer.h"

namespace betrace::kms {

class AdminAuthorizer final : public Authorizer {
 public:
  bool allow(const Principal& principal, std::string_view verb,
             std::string_view tenant) const override;
};

// principal=admin verb=rotate tenant=acme outcome=ok request_id=…, in category
// com.betrace.kms.audit: INFO when it was done, WARN when it was refused or failed.
class LogAuditSink final : public AuditSink {
 public:
  Status record(const AuditEvent& event) override;
};

// The line's message. What callers chose is cut at 128 bytes and escaped, so that it can neither
// end the line nor pass for another field.
std::string audit_line(const AuditEvent& event);

}  // namespace betrace::kms
