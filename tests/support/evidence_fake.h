// Evidence by order: answers what a test put there, and keeps what it was given. Not thread-safe.
#pragma once

#include <string>
#include <utility>

#include "betrace/kms/evidence.h"

namespace betrace::kms {

class FakeEvidence final : public Evidence {
 public:
  Result<Items<Result<WipedString>>> signed_spans =
      fail(ErrorCode::invalid_argument, "nothing was put here");
  Result<Items<Result<SpanVerdict>>> verdicts =
      fail(ErrorCode::invalid_argument, "nothing was put here");
  std::string document;
  Principal principal;

  void sign_spans(CallContext call, std::string_view text,
                  Done<Items<Result<WipedString>>> done) override {
    keep(call, text);
    done(signed_spans);
  }
  void verify_spans(CallContext call, std::string_view text,
                    Done<Items<Result<SpanVerdict>>> done) override {
    keep(call, text);
    done(verdicts);
  }

 private:
  void keep(const CallContext& call, std::string_view text) {
    document = text;
    principal = call.principal;
  }
};

}  // namespace betrace::kms
