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

// A stream by order. Not thread-safe.
class FakeStream final : public EvidenceStream {
 public:
  Result<StreamAnswer> answer = StreamAnswer{.content_type = "application/json", .body = "{}"};
  StreamSignal signal = StreamSignal::traces;
  std::string content_type, content_encoding, body;

  void take(CallContext, StreamRequest request, Done<StreamAnswer> done) override {
    signal = request.signal;
    content_type = request.content_type;
    content_encoding = request.content_encoding;
    body = request.body;
    done(answer);
  }
};

// An archive by order. Not thread-safe.
class FakeArchive final : public EvidenceArchive {
 public:
  Result<std::string> text = "text";
  Inclusion included;
  std::uint64_t first = 0, begin = 0, end = 0;
  std::optional<std::uint64_t> held;
  Hash leaf{};
  Period period;

  Result<std::string> log_key() override { return text; }
  Result<std::string> checkpoint(const TenantId&) override { return text; }
  Result<Inclusion> inclusion(const TenantId&, std::uint64_t index) override {
    if (!text) return std::unexpected(text.error());
    included.index = index;
    return included;
  }
  Result<Inclusion> inclusion(const TenantId&, const Hash& of) override {
    leaf = of;
    return included;
  }
  Result<Consistency> consistency(const TenantId&, std::uint64_t of) override {
    first = of;
    return Consistency{.first = of, .second = 9, .proof = {Hash{}}, .checkpoint = "note"};
  }
  Result<std::vector<std::string>> leaves(const TenantId&, std::uint64_t from, std::uint64_t until,
                                          std::size_t) override {
    begin = from;
    end = until;
    return std::vector<std::string>{"{}", "{\"a\":1}"};
  }
  Result<BundleHead> bundle_head(const CallContext&, const TenantId&, const Period& of,
                                 std::optional<std::uint64_t> size) override {
    period = of;
    held = size;
    return BundleHead{.line = "{}", .begin = 3, .end = 5};
  }
};

}  // namespace betrace::kms
