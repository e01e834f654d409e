// Decides whether a principal may do a thing. Asked in one place, the router, before the handler.
#pragma once

#include <string_view>

#include "betrace/kms/call_context.h"

namespace betrace::kms {

class Authorizer {
 public:
  virtual ~Authorizer() = default;
  // `verb` as in the audit log, e.g. "sign", "rotate-all-keys"; `tenant` is empty where none is
  // meant. Thread-safe; must not block.
  virtual bool allow(const Principal& principal, std::string_view verb,
                     std::string_view tenant) const = 0;
};

}  // namespace betrace::kms
