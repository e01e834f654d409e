#include "evidence/otlp_ingest.h"

#include <string>
#include <utility>
#include <vector>

#include <boost/json/monotonic_resource.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/compression.h"
#include "base/encoding.h"
#include "base/otlp.h"
#include "base/try.h"
#include "evidence/otlp_mapping.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::size_t body_bytes_max = 64U << 20;  // decompressed

OtlpSignal signal_of(const StreamRequest& request) {
  return request.signal == StreamSignal::traces ? OtlpSignal::traces : OtlpSignal::logs;
}

// "application/json; charset=utf-8" is JSON.
Result<OtlpEncoding> encoding_of(std::string_view content_type) {
  const auto type = content_type.substr(0, content_type.find_first_of("; "));
  if (type == "application/json") return OtlpEncoding::json;
  if (type == "application/x-protobuf") return OtlpEncoding::protobuf;
  return fail(ErrorCode::invalid_argument,
              fmt::format("Content-Type: '{}' is not accepted; application/x-protobuf and "
                          "application/json are",
                          type.substr(0, 64)));
}

std::unexpected<Error> too_much_work() {
  return fail(ErrorCode::overloaded, "too much work is waiting; try again in a moment");
}

template <class Items>
auto spans_of(const Items& items) {
  std::vector<decltype(&items.front().span)> spans;
  for (const auto& each : items) spans.push_back(&each.span);
  return spans;
}

}  // namespace

struct OtlpIngest::Job {
  CallContext call;
  StreamRequest request;
  OtlpEncoding encoding = OtlpEncoding::protobuf;
  std::optional<OtlpRequest> otlp;
  boost::json::monotonic_resource memory;
  // Items, and what is made of them: without a signature, with one, with a place in the log.
  struct Fresh {
    std::size_t item;
    ComplianceSpan span;
  };
  struct Signed {
    std::size_t item;
    SignedSpan span;
  };
  struct Logged {
    std::size_t item;
    LoggedSpan span;
  };
  struct PerhapsOld {
    const Signed* came;
    SystemTime revoked_at;
    SpanVerdict verdict;
  };
  std::vector<Fresh> fresh;
  std::vector<Signed> came_signed;
  std::vector<PerhapsOld> perhaps_old;
  std::vector<Logged> came_logged;
  // What goes into the log, and whose places the items are given.
  std::vector<EvidenceLog::Leaf> leaves;
  std::vector<const Fresh*> to_place;
  std::size_t signed_now = 0, logged_now = 0, attested_before = 0, failed = 0, unverified = 0;
  std::string first_failure, first_unverified;
  Done<StreamAnswer> done;

  // Evidence is flagged, never lost: the item goes on.
  void flag(std::size_t item, const std::string& why) {
    set_signing_failed(*otlp, item);
    if (failed++ == 0) first_failure = why;
  }
  void flag_attested(std::size_t item, const std::string& why) {
    flag(item, "it came with a signature: " + why);
  }
  bool add_leaf(const Fresh& from, WipedString json) {
    if (const auto fits = EvidenceLog::check_leaf(json); !fits) {
      flag(from.item, fits.error().message);
      return false;
    }
    leaves.push_back({.tenant = from.span.tenant(), .bytes = std::string(json)});
    return true;
  }
  // What nobody could look at goes on as it came: a flag would end a signature that may be good.
  void take_verdict(std::size_t item, const Result<SpanVerdict>& verdict) {
    if (!verdict) {
      if (unverified++ == 0) first_unverified = verdict.error().message;
    } else if (verdict->valid) {
      ++attested_before;
    } else {
      flag_attested(item, verdict->message);
    }
  }
};

void OtlpIngest::take(CallContext call, StreamRequest request, Done<StreamAnswer> done) {
  auto job = std::make_shared<Job>();
  job->call = std::move(call);
  job->request = request;
  job->done = std::move(done);
  const auto read = [&]() -> Status {
    job->encoding = TRY(encoding_of(request.content_type));
    const auto body = TRY(decompress(request.content_encoding, request.body, body_bytes_max));
    job->otlp = TRY(OtlpRequest::decode(signal_of(request), job->encoding, body));
    return {};
  }();
  if (!read) return job->done(std::unexpected(read.error()));
  sort(*job);
  auto rest = [this, job] {
    verify(job, [this, job] { look_up(job, [this, job] { finish(job); }); });
  };
  parts_.log_only ? admit(job, rest) : sign(job, rest);
}

void OtlpIngest::sort(Job& job) const {
  for (std::size_t item = 0; item < job.otlp->items(); ++item) {
    if (!is_compliance_item(*job.otlp, item)) continue;
    const auto object = compliance_span_of(*job.otlp, item, &job.memory);
    if (!object) {
      job.flag(item, object.error().message);
    } else if (carries_signature(*job.otlp, item)) {
      auto span = SignedSpan::parse(*object);
      if (!span.fault.empty()) {
        job.flag_attested(item, span.fault);
      } else {
        job.came_signed.push_back({item, std::move(span)});
      }
    } else if (carries_place(*job.otlp, item)) {
      auto span = LoggedSpan::parse(*object);
      if (!span.fault.empty()) {
        job.flag_attested(item, span.fault);
      } else {
        job.came_logged.push_back({item, std::move(span)});
      }
    } else if (auto span = ComplianceSpan::parse(*object, parts_.evidence.frameworks); !span) {
      job.flag(item, span.error().message);
    } else if (!parts_.evidence.authorizer.allow(job.call.principal, "sign-spans",
                                                 span->tenant().str())) {
      job.flag(item, fmt::format("spans of tenant {} are not yours to use", span->tenant().str()));
    } else {
      job.fresh.push_back({item, *std::move(span)});
    }
  }
}

void OtlpIngest::sign(const std::shared_ptr<Job>& job, Next next) const {
  keys_.sign(job->call, spans_of(job->fresh),
             [job, next = std::move(next)](const SpanKeys::Signatures& made) mutable {
               for (std::size_t n = 0; n < made.size(); ++n) {
                 const auto& fresh = job->fresh[n];
                 if (!made[n]) {
                   job->flag(fresh.item, made[n].error().message);
                   continue;
                 }
                 const auto& [key, version, bytes, stale] = *made[n];
                 if (!job->add_leaf(fresh, fresh.span.signed_json(key, bytes))) continue;
                 set_signature(*job->otlp, fresh.item, key, bytes);
                 ++job->signed_now;
               }
               next();
             });
}

// Without a signature: of a tenant that is there.
void OtlpIngest::admit(const std::shared_ptr<Job>& job, Next next) const {
  SpanKeys::Tenants tenants;
  for (const auto& each : job->fresh) tenants.try_emplace(each.span.tenant());
  keys_.find_tenants(job->call, std::move(tenants),
                     [job, next = std::move(next)](const auto& found) mutable {
                       for (const auto& fresh : job->fresh) {
                         const auto& status = found.at(fresh.span.tenant());
                         if (!status) {
                           job->flag(fresh.item, status.error().message);
                         } else if (job->add_leaf(fresh, fresh.span.logged_json())) {
                           job->to_place.push_back(&fresh);
                           ++job->logged_now;
                         }
                       }
                       next();
                     });
}

void OtlpIngest::verify(const std::shared_ptr<Job>& job, Next next) const {
  keys_.verify(job->call, spans_of(job->came_signed),
               [this, job, next = std::move(next)](const SpanKeys::Verifications& all) mutable {
                 for (std::size_t n = 0; n < all.size(); ++n) {
                   const auto& came = job->came_signed[n];
                   auto verdict = verdict_of(came.span, all[n]);
                   if (parts_.evidence.log != nullptr && needs_proof_of_age(all[n])) {
                     job->perhaps_old.push_back({&came, *all[n]->revoked_at, *std::move(verdict)});
                   } else {
                     job->take_verdict(came.item, verdict);
                   }
                 }
                 prove_age(job, std::move(next));
               });
}

// Of what was signed by a key that was revoked since.
void OtlpIngest::prove_age(const std::shared_ptr<Job>& job, Next next) const {
  if (job->perhaps_old.empty()) return next();
  const auto go_on = std::make_shared<Next>(std::move(next));
  const bool posted = parts_.evidence.blocking->post([this, job, go_on] {
    for (const auto& [came, revoked_at, verdict] : job->perhaps_old) {
      WipedString leaf;
      if (const auto span = compliance_span_of(*job->otlp, came->item, &job->memory)) {
        CanonicalFields(*span).append_to(leaf);
      }
      job->take_verdict(came->item, with_proof_of_age(*parts_.evidence.log, *came->span.owner,
                                                      as_bytes(leaf), revoked_at, verdict));
    }
    (*go_on)();
  });
  if (posted) return;
  for (const auto& each : job->perhaps_old) job->take_verdict(each.came->item, too_much_work());
  (*go_on)();
}

void OtlpIngest::refuse_other_logs(Job& job) const {
  if (parts_.evidence.log == nullptr) return;
  const auto log = parts_.evidence.log->get();
  if (!log) return;  // then nobody can look them up
  std::erase_if(job.came_logged, [&](const Job::Logged& came) {
    const auto ours = EvidenceLog::origin_of((*log)->name(), *came.span.owner);
    const auto theirs = log_of_place(*job.otlp, came.item);
    if (theirs == ours) return false;
    job.flag_attested(came.item, fmt::format("its place is in the log '{}', not in '{}'",
                                             theirs.substr(0, 256), ours));
    return true;
  });
}

void OtlpIngest::look_up(const std::shared_ptr<Job>& job, Next next) const {
  refuse_other_logs(*job);
  logged_.verify(spans_of(job->came_logged),
                 [job, next = std::move(next)](const LoggedSpans::Verdicts& verdicts) mutable {
                   for (std::size_t n = 0; n < verdicts.size(); ++n) {
                     job->take_verdict(job->came_logged[n].item, verdicts[n]);
                   }
                   next();
                 });
}

// What the sender is told besides; empty: all went well.
std::string OtlpIngest::warning_of(const Job& job) const {
  const auto taken = job.signed_now + job.logged_now;
  std::vector<std::string> said;
  if (job.failed > 0) {
    said.push_back(
        fmt::format("{} of {} compliance items could not be signed and {}; the first: {}",
                    job.failed, taken + job.attested_before + job.failed,
                    parts_.forwards ? "went on with the status signing_failed" : "are kept nowhere",
                    job.first_failure));
  }
  if (job.unverified > 0) {
    said.push_back(fmt::format("{} came attested, could not be verified and {}; the first: {}",
                               counted(job.unverified, "item"),
                               parts_.forwards ? "went on as it was" : "is kept nowhere",
                               job.first_unverified));
  }
  if (!parts_.forwards) {
    said.push_back(
        fmt::format("{} of {} items {} in the evidence log; nothing is forwarded: "
                    "betrace.otlp.forward-endpoint is not set",
                    taken, job.otlp->items(), parts_.log_only ? "are" : "were signed and are"));
  }
  return fmt::format("{}", fmt::join(said, "; "));
}

void OtlpIngest::finish(const std::shared_ptr<Job>& job) const {
  if (job->failed > 0) {
    logger(log_category::kms)
        .warn(
            "{} compliance items of {} go on unsigned, with the status signing_failed; the "
            "first: {}",
            job->failed, job->otlp->items(), job->first_failure);
  }
  if (job->unverified > 0) {
    logger(log_category::kms)
        .warn("{} of {} came attested, could not be verified and went on as it was; the first: {}",
              counted(job->unverified, "item"), job->otlp->items(), job->first_unverified);
  }
  const auto log = parts_.evidence.log != nullptr
                       ? parts_.evidence.log->get()
                       : fail(ErrorCode::store_unavailable,
                              "OTLP needs the evidence log: betrace.evidence.log.enabled is false");
  if (!log) return job->done(std::unexpected(log.error()));
  const bool named = !(*log)->name().empty();
  if (job->to_place.empty() || !parts_.forwards || named) return append(job, **log);
  // A new log has no name yet: that takes the provider.
  const bool posted = parts_.evidence.blocking->post([this, job, &log = **log] {
    if (const auto key = log.public_key(); !key) return job->done(std::unexpected(key.error()));
    append(job, log);
  });
  if (posted) return;
  job->done(too_much_work());
}

JournalRecord OtlpIngest::payload_of(const Job& job) const {
  return {.kind = job.request.signal == StreamSignal::traces ? traces_record : logs_record,
          .bytes = job.otlp->encode()};
}

void OtlpIngest::append(const std::shared_ptr<Job>& job, EvidenceLog& log) const {
  EvidenceLog::Also also;
  if (parts_.forwards && job->to_place.empty()) {
    also = [payload = payload_of(*job)](const EvidenceLog::Indices&) mutable {
      std::vector<JournalRecord> records;
      records.push_back(std::move(payload));
      return records;
    };
  } else if (parts_.forwards) {
    also = [this, job, name = log.name()](const EvidenceLog::Indices& indices) {
      for (std::size_t n = 0; n < indices.size(); ++n) {
        const auto& [item, span] = *job->to_place[n];
        set_place(*job->otlp, item, EvidenceLog::origin_of(name, span.tenant()), indices[n]);
      }
      std::vector<JournalRecord> records;
      records.push_back(payload_of(*job));
      return records;
    };
  }
  log.append(std::move(job->leaves), std::move(also),
             [this, job](const Result<EvidenceLog::Indices>& written) {
               if (!written) return job->done(std::unexpected(written.error()));
               answer(*job);
             });
}

void OtlpIngest::answer(Job& job) const {
  const auto signal = signal_of(job.request);
  const auto count = [&](std::string_view result, std::size_t number) {
    parts_.evidence.metrics.otlp_items(to_string(signal), result)
        .Increment(static_cast<double>(number));
  };
  count("signed", job.signed_now);
  count("logged", job.logged_now);
  count("signed_before", job.attested_before);
  count("signing_failed", job.failed);
  count("unverified", job.unverified);
  count("passed", job.otlp->items() - job.signed_now - job.logged_now - job.attested_before -
                      job.failed - job.unverified);
  job.done(StreamAnswer{.content_type = job.encoding == OtlpEncoding::json
                                            ? "application/json"
                                            : "application/x-protobuf",
                        .body = otlp_response(signal, job.encoding, warning_of(job))});
}

}  // namespace betrace::kms
