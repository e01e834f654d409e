// The first Authorizer and the first AuditSink: one administrator who may do everything and an
// anonymous reader who may look; a line in the log for what was done or refused.
// Both are thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "betrace/kms/audit_sink.h"
#include "betrace/kms/authorizer.h"

namespace betrace::kms {

class AdminAuthorizer final : public Authorizer {
 public:
  bool allow(const Principal& principal, std::string_view verb,
             std::string_view tenant) const override;
};

// principal=admin verb=rotate tenant=acme outcome=ok request_id=…, in category
// com.betrace.kms.audit: INFO when it was done, WARN when it was refused or failed. What was done
// has always a line of its own. Of refusals of one kind (principal, verb, outcome) the first ten in
// a second have; the others are one line, `… tenant=* outcome=unauthenticated repeated=812`, which
// is written with the next event after that second, or at the end.
class LogAuditSink final : public AuditSink {
 public:
  static constexpr std::uint64_t refusals_a_second = 10;
  ~LogAuditSink() override;
  Status record(const AuditEvent& event) override;

 private:
  bool is_counted_only(const AuditEvent& event);
  void tell_counts();

  std::mutex mutex_;
  SystemTime second_;
  std::map<std::string, std::uint64_t> refusals_;  // in it, by kind
};

// The line's message. What callers chose is cut at 128 bytes and escaped, so that it can neither
// end the line nor pass for another field.
std::string audit_line(const AuditEvent& event);

}  // namespace betrace::kms
