// Spans whose place in the log stands for a signature: whether the log has them there. Thread-safe.
#pragma once

#include <functional>
#include <vector>

#include "betrace/kms/evidence.h"

#include "base/executor.h"
#include "evidence/log_slot.h"
#include "evidence/span.h"

namespace betrace::kms {

class LoggedSpans {
 public:
  // Both must outlive this. `log`: none is switched off; `blocking` is where it is searched.
  LoggedSpans(const LogSlot* log, Executor* blocking) : log_(log), blocking_(blocking) {}

  // In order; the spans have no fault, and stay where they are until `done`. Where the newest
  // checkpoint is older than a span another one is made. Errors of each, when nobody knows:
  // store_unavailable, overloaded, corrupt, those of the log's seal.
  using Verdicts = std::vector<Result<SpanVerdict>>;
  void verify(std::vector<const LoggedSpan*> spans,
              std::move_only_function<void(Verdicts)> done) const;

 private:
  const LogSlot* log_;
  Executor* blocking_;
};

}  // namespace betrace::kms
