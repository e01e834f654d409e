#include "evidence/evidence_service.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/try.h"
#include "evidence/archive.h"
#include "evidence/span.h"
#include "evidence/span_request.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

using boost::json::object;

Error in_span(Error error, bool batch, std::size_t index) {
  error.message =
      fmt::format("{}: {}", batch ? fmt::format("spans[{}]", index) : "span", error.message);
  return error;
}

// One document under way: answered when all that was opened is closed.
template <class T>
struct Job {
  Job(CallContext of, Metrics& counted_in, Done<Evidence::Items<Result<T>>> to)
      : call(std::move(of)), metrics(counted_in), done(std::move(to)) {}

  // False: it is answered with what is wrong.
  bool read(std::string_view text, bool older_form_too = false) {
    if (const auto parsed = document.parse(text, older_form_too); !parsed) {
      done(std::unexpected(parsed.error()));
      return false;
    }
    answer.batch = document.is_batch();
    answer.items.resize(document.spans().size());
    return true;
  }
  void close() {
    if (--open == 0) finish();
  }
  void finish() { done(std::exchange(answer, {})); }

  const CallContext call;
  Metrics& metrics;
  SpanRequest document;
  Evidence::Items<Result<T>> answer;
  std::atomic<std::size_t> open = 1;
  Done<Evidence::Items<Result<T>>> done;
};

Error not_allowed(const TenantId& tenant) {
  return {.code = ErrorCode::permission_denied,
          .message = fmt::format("spans of tenant {} are not yours to use", tenant.str())};
}

}  // namespace

// --- signing ------------------------------------------------------------------------------------

struct EvidenceService::Signing : Job<WipedString>, std::enable_shared_from_this<Signing> {
  using Job::Job;
  const LogSlot* log = nullptr;
  std::vector<std::optional<ComplianceSpan>> fresh;  // to be signed
  std::vector<std::optional<SignedSpan>> came_signed;
  std::vector<std::size_t> newly_signed;

  void refuse(std::size_t index, Error error) {
    const bool ours =
        error.code != ErrorCode::invalid_argument && error.code != ErrorCode::permission_denied;
    (ours ? metrics.spans_failed : metrics.spans_refused).Increment();
    answer.items[index] = std::unexpected(in_span(std::move(error), answer.batch, index));
  }

  void take_signatures(const std::vector<std::size_t>& which, const SpanKeys::Signatures& made) {
    for (std::size_t n = 0; n < which.size(); ++n) {
      const auto index = which[n];
      if (!made[n]) {
        refuse(index, made[n].error());
        continue;
      }
      auto json = fresh[index]->signed_json(made[n]->key_id, made[n]->bytes);
      if (const auto fits = EvidenceLog::check_leaf(json); log != nullptr && !fits) {
        refuse(index, fits.error());
        continue;
      }
      answer.items[index] = std::move(json);
      newly_signed.push_back(index);
    }
    put_into_log();
  }

  // One that came signed is answered as it is, when its signature is good.
  void take_verification(std::size_t index, const Result<Verification>& verification) {
    const auto verdict = verdict_of(*came_signed[index], verification);
    if (!verdict) return refuse(index, verdict.error());
    if (!verdict->valid) return refuse_signed(index, verdict->message);
    metrics.spans_signed_before.Increment();
    WipedString json;
    append_canonical_json(*document.spans()[index], json);
    answer.items[index] = std::move(json);
  }
  void refuse_signed(std::size_t index, const std::string& why) {
    refuse(index, {.code = ErrorCode::invalid_argument,
                   .message = "signature: the span came signed, and is refused: " + why});
  }

 private:
  void put_into_log() {
    if (log == nullptr || newly_signed.empty()) return count({});
    const auto evidence_log = log->get();
    if (!evidence_log) return count(std::unexpected(evidence_log.error()));
    std::vector<EvidenceLog::Leaf> leaves;
    leaves.reserve(newly_signed.size());
    for (const auto index : newly_signed) {
      leaves.push_back(
          {.tenant = fresh[index]->tenant(), .bytes = std::string(*answer.items[index])});
    }
    (*evidence_log)
        ->append(std::move(leaves), {},
                 [self = shared_from_this()](const Result<std::vector<std::uint64_t>>& indices) {
                   self->count(indices ? Status() : std::unexpected(indices.error()));
                 });
  }
  // A signature that is in no log was never made.
  void count(const Status& logged) {
    for (const auto index : newly_signed) {
      if (logged) {
        metrics.spans_signed.Increment();
      } else {
        refuse(index, logged.error());
      }
    }
    close();
  }
};

void EvidenceService::sign_spans(CallContext call, std::string_view document,
                                 Done<Items<Result<WipedString>>> done) {
  const auto job = std::make_shared<Signing>(std::move(call), parts_.metrics, std::move(done));
  job->log = parts_.log;
  if (!job->read(document)) return;
  job->fresh.resize(job->document.spans().size());
  job->came_signed.resize(job->document.spans().size());
  std::vector<std::size_t> to_sign, to_verify;
  for (std::size_t i = 0; i < job->document.spans().size(); ++i) sort(*job, i, to_sign, to_verify);
  std::vector<const ComplianceSpan*> fresh;
  for (const auto i : to_sign) fresh.push_back(&*job->fresh[i]);
  std::vector<const SignedSpan*> came_signed;
  for (const auto i : to_verify) came_signed.push_back(&*job->came_signed[i]);
  job->open += 2;
  keys_.sign(job->call, std::move(fresh),
             [job, which = std::move(to_sign)](const SpanKeys::Signatures& made) {
               job->take_signatures(which, made);
             });
  keys_.verify(job->call, std::move(came_signed),
               [job, which = std::move(to_verify)](const SpanKeys::Verifications& verified) {
                 for (std::size_t n = 0; n < which.size(); ++n) {
                   job->take_verification(which[n], verified[n]);
                 }
                 job->close();
               });
  job->close();
}

// What is to become of one span of the document.
void EvidenceService::sort(Signing& job, std::size_t i, std::vector<std::size_t>& to_sign,
                           std::vector<std::size_t>& to_verify) const {
  const auto* const span = job.document.spans()[i]->if_object();
  if (span == nullptr) {
    return job.refuse(i, {.code = ErrorCode::invalid_argument, .message = "it is not an object"});
  }
  const auto allowed = [&](const TenantId& tenant) {
    const bool may = parts_.authorizer.allow(job.call.principal, "sign-spans", tenant.str());
    if (!may) job.refuse(i, not_allowed(tenant));
    return may;
  };
  if (span->contains("signature")) {
    auto parsed = SignedSpan::parse(*span);
    if (!parsed.fault.empty()) return job.refuse_signed(i, parsed.fault);
    if (!allowed(*parsed.owner)) return;
    job.came_signed[i] = std::move(parsed);
    to_verify.push_back(i);
    return;
  }
  auto parsed = ComplianceSpan::parse(*span, parts_.frameworks);
  if (!parsed) return job.refuse(i, std::move(parsed).error());
  if (!allowed(parsed->tenant())) return;
  job.fresh[i] = *std::move(parsed);
  to_sign.push_back(i);
}

// --- verifying ----------------------------------------------------------------------------------

struct EvidenceService::Verifying : Job<SpanVerdict> {
  using Job::Job;
  template <class Span>
  struct At {
    std::size_t index;
    Span span;
  };
  std::vector<At<SignedSpan>> with_signature;
  std::vector<At<LoggedSpan>> with_place;

  void decide(std::size_t index, Result<SpanVerdict> verdict) {
    if (verdict) {
      (verdict->valid ? metrics.spans_valid : metrics.spans_invalid).Increment();
    } else {
      verdict = std::unexpected(in_span(verdict.error(), answer.batch, index));
    }
    answer.items[index] = std::move(verdict);
  }
  template <class Span>
  static std::vector<const Span*> spans_of(const std::vector<At<Span>>& all) {
    std::vector<const Span*> spans;
    for (const auto& each : all) spans.push_back(&each.span);
    return spans;
  }
};

// What is to become of one span of the document.
void EvidenceService::sort(Verifying& job, std::size_t i) const {
  const auto* const object = job.document.spans()[i]->if_object();
  const auto take = [&](auto span, auto& into, std::string key) {
    if (!span.fault.empty()) {
      job.decide(i, SpanVerdict{.message = span.fault,
                                .tenant = span.tenant,
                                .timestamp = span.timestamp,
                                .key_id = std::move(key)});
    } else if (!parts_.authorizer.allow(job.call.principal, "verify-spans", span.tenant)) {
      job.decide(i, std::unexpected(not_allowed(*span.owner)));
    } else {
      into.push_back({i, std::move(span)});
    }
  };
  if (object == nullptr) {
    job.decide(i, SpanVerdict{.message = "Malformed: it is no object"});
  } else if (LoggedSpan::is_one(*object)) {
    take(LoggedSpan::parse(*object), job.with_place, "");
  } else {
    auto span = SignedSpan::parse(*object);
    auto key = span.key_text;
    take(std::move(span), job.with_signature, std::move(key));
  }
}

void EvidenceService::verify_spans(CallContext call, std::string_view document,
                                   Done<Items<Result<SpanVerdict>>> done) {
  const auto job = std::make_shared<Verifying>(std::move(call), parts_.metrics, std::move(done));
  if (!job->read(document, true)) return;
  for (std::size_t i = 0; i < job->document.spans().size(); ++i) sort(*job, i);
  job->open += 2;
  keys_.verify(job->call, Verifying::spans_of(job->with_signature),
               [this, job](const SpanKeys::Verifications& verified) {
                 for (std::size_t n = 0; n < verified.size(); ++n) {
                   take_verification(job, n, verified[n]);
                 }
                 job->close();
               });
  logged_.verify(Verifying::spans_of(job->with_place), [job](LoggedSpans::Verdicts verdicts) {
    for (std::size_t n = 0; n < verdicts.size(); ++n) {
      job->decide(job->with_place[n].index, std::move(verdicts[n]));
    }
    job->close();
  });
  job->close();
}

void EvidenceService::take_verification(const std::shared_ptr<Verifying>& job, std::size_t n,
                                        const Result<Verification>& verification) {
  const auto& [index, span] = job->with_signature[n];
  auto verdict = verdict_of(span, verification);
  if (parts_.log == nullptr || !needs_proof_of_age(verification))
    return job->decide(index, std::move(verdict));
  ++job->open;
  look_for_proof(job, n, *verification->revoked_at, *std::move(verdict));
}

void EvidenceService::look_for_proof(const std::shared_ptr<Verifying>& job, std::size_t n,
                                     SystemTime revoked_at, SpanVerdict verdict) {
  const auto index = job->with_signature[n].index;
  const auto look = [this, job, n, index, revoked_at, verdict]() mutable {
    WipedString leaf;
    append_canonical_json(*job->document.spans()[index], leaf);
    const auto found = with_proof_of_age(*parts_.log, *job->with_signature[n].span.owner,
                                         as_bytes(leaf), revoked_at, verdict);
    if (!found) verdict.message += ": " + found.error().message;  // nobody could look
    job->decide(index, found ? *found : verdict);
    job->close();
  };
  if (parts_.blocking->post(look)) return;
  job->decide(index,
              fail(ErrorCode::overloaded, "too much work is waiting; try again in a moment"));
  job->close();
}

}  // namespace betrace::kms
