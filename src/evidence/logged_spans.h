// What the log says of spans: of those whose place in it stands for a signature whether it has them
// there, of others since when. Thread-safe.
#pragma once

#include <functional>
#include <vector>

#include "betrace/kms/evidence.h"

#include "base/executor.h"
#include "evidence/log_slot.h"
#include "evidence/span.h"

namespace betrace::kms {

// Whether a signature is right and its key was revoked, so that only a proof of the span's age lets
// it stand.
bool needs_proof_of_age(const Result<Verification>& verification);
// The verdict on such a span with what the log adds to it: whether a checkpoint of before then has
// the span, so that whoever has the key since cannot have made it. `leaf`: the signed span in its
// RFC 8785 form. Blocks on the disk. Errors: store_unavailable, corrupt: nobody could look.
Result<SpanVerdict> with_proof_of_age(const LogSlot& log, const TenantId& tenant, ByteView leaf,
                                      SystemTime revoked_at, SpanVerdict verdict);

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
