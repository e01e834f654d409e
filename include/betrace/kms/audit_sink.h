// Receives every mutation and every refusal. Called in one place, the router.
#pragma once

#include <string_view>

#include "betrace/kms/call_context.h"
#include "betrace/kms/key.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

struct AuditEvent {
  SystemTime at;
  std::string_view principal;
  std::string_view verb;
  std::string_view tenant;   // empty where none is meant
  std::string_view outcome;  // "ok" or the error's code
  std::string_view request_id;
};

class AuditSink {
 public:
  virtual ~AuditSink() = default;
  // Thread-safe. An error fails the call that is recorded.
  virtual Status record(const AuditEvent& event) = 0;
};

}  // namespace betrace::kms
