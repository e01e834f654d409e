#include "evidence/logged_spans.h"

#include <memory>
#include <utility>

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/try.h"
#include "evidence/archive.h"

namespace betrace::kms {
namespace {

SpanVerdict verdict_on(const LoggedSpan& span, bool valid, std::string message) {
  return {.valid = valid,
          .message = std::move(message),
          .tenant = span.tenant,
          .timestamp = span.timestamp};
}

// The newest checkpoint, by the log's key; over the place when there is one.
Result<Checkpoint> checkpoint_over(EvidenceLog& log, const TenantId& tenant, std::uint64_t place) {
  auto published = log.published(tenant);
  const bool old = published ? published->checkpoint.size <= place
                             : published.error().code == ErrorCode::not_found;
  if (old) {
    TRY(log.publish());
    published = log.published(tenant);
  }
  if (!published) return std::unexpected(std::move(published).error());
  if (const auto text = open_note(published->note, TRY(log.public_key())); !text) {
    return fail(ErrorCode::corrupt, fmt::format("the newest checkpoint of tenant {}: {}",
                                                tenant.str(), text.error().message));
  }
  return std::move(published->checkpoint);
}

Result<SpanVerdict> look_up(EvidenceLog& log, const LoggedSpan& span) {
  const auto checkpoint = checkpoint_over(log, *span.owner, span.index);
  if (!checkpoint && checkpoint.error().code == ErrorCode::not_found) {
    return verdict_on(span, false, "Not in the evidence log: the tenant has none");
  }
  if (!checkpoint) return std::unexpected(checkpoint.error());
  if (span.index >= checkpoint->size) {
    return verdict_on(
        span, false,
        fmt::format("Not in the evidence log: it has {} leaves, and none at {}: span or tenant "
                    "are another's",
                    checkpoint->size, span.index));
  }
  const auto tiles = log.tiles(*span.owner, checkpoint->size);
  const auto proof = TRY(inclusion_proof(span.index, checkpoint->size, tiles.reader()));
  if (!verify_inclusion(span.index, checkpoint->size, leaf_hash(as_bytes(span.leaf)), proof,
                        checkpoint->root)) {
    return verdict_on(span, false,
                      fmt::format("Not in the evidence log: leaf {} is another one, or the span "
                                  "was tampered with",
                                  span.index));
  }
  return verdict_on(span, true,
                    fmt::format("In the evidence log: leaf {}, which the checkpoint of {} has",
                                span.index, rfc3339(checkpoint->time)));
}

}  // namespace

bool needs_proof_of_age(const Result<Verification>& verification) {
  return verification && verification->valid && !verification->trusted && verification->revoked_at;
}

Result<SpanVerdict> with_proof_of_age(const LogSlot& log, const TenantId& tenant, ByteView leaf,
                                      SystemTime revoked_at, SpanVerdict verdict) {
  const auto open = log.get();
  if (!open) return std::unexpected(open.error());
  const auto seen = first_seen(**open, tenant, leaf);
  if (!seen && seen.error().code != ErrorCode::not_found) return std::unexpected(seen.error());
  if (!seen || seen->checkpoint.time >= revoked_at) return verdict;
  verdict.valid = true;
  verdict.message = fmt::format(
      "Signature valid: the key was revoked at {}, and the checkpoint of {} has the span",
      rfc3339(revoked_at), rfc3339(seen->checkpoint.time));
  return verdict;
}

void LoggedSpans::verify(std::vector<const LoggedSpan*> spans,
                         std::move_only_function<void(Verdicts)> done) const {
  if (spans.empty()) return done({});
  const auto log = log_ != nullptr
                       ? log_->get()
                       : fail(ErrorCode::store_unavailable,
                              "there is no evidence log: betrace.evidence.log.enabled is false");
  const auto count = spans.size();
  if (!log) return done(Verdicts(count, std::unexpected(log.error())));
  const auto answer = std::make_shared<std::move_only_function<void(Verdicts)>>(std::move(done));
  const bool posted = blocking_->post([log = *log, spans = std::move(spans), answer] {
    Verdicts verdicts;
    for (const auto* const span : spans) verdicts.push_back(look_up(*log, *span));
    (*answer)(std::move(verdicts));
  });
  if (posted) return;
  (*answer)(Verdicts(
      count, fail(ErrorCode::overloaded, "too much work is waiting; try again in a moment")));
}

}  // namespace betrace::kms
