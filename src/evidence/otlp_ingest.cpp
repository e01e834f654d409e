#include "evidence/otlp_ingest.h"

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include <boost/json/monotonic_resource.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/compression.h"
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

}  // namespace

struct OtlpIngest::Job {
  CallContext call;
  StreamRequest request;
  OtlpEncoding encoding = OtlpEncoding::protobuf;
  std::optional<OtlpRequest> otlp;
  boost::json::monotonic_resource memory;
  // Of items to sign and to verify: which, and what.
  std::vector<std::size_t> to_sign, to_verify;
  std::vector<ComplianceSpan> fresh;
  std::vector<SignedSpan> came_signed;
  std::vector<EvidenceLog::Leaf> leaves;
  std::size_t already_signed = 0, failed = 0;
  std::string first_failure;
  std::atomic<int> open = 2;
  Done<StreamAnswer> done;

  // Evidence is flagged, never lost: the item goes on.
  void flag(std::size_t item, const std::string& why) {
    set_signing_failed(*otlp, item);
    if (failed++ == 0) first_failure = why;
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
  sign_and_verify(job);
}

void OtlpIngest::sort(Job& job) const {
  for (std::size_t item = 0; item < job.otlp->items(); ++item) {
    if (!is_compliance_item(*job.otlp, item)) continue;
    const auto object = compliance_span_of(*job.otlp, item, &job.memory);
    if (!object) {
      job.flag(item, object.error().message);
    } else if (carries_signature(*job.otlp, item)) {
      auto span = SignedSpan::parse(*object);
      if (span.fault.empty()) {
        job.came_signed.push_back(std::move(span));
        job.to_verify.push_back(item);
      } else {
        job.flag(item, "it came with a signature: " + span.fault);
      }
    } else if (auto span = ComplianceSpan::parse(*object, parts_.evidence.frameworks); !span) {
      job.flag(item, span.error().message);
    } else if (!parts_.evidence.authorizer.allow(job.call.principal, "sign-spans",
                                                 span->tenant().str())) {
      job.flag(item, fmt::format("spans of tenant {} are not yours to use", span->tenant().str()));
    } else {
      job.fresh.push_back(*std::move(span));
      job.to_sign.push_back(item);
    }
  }
}

void OtlpIngest::sign_and_verify(const std::shared_ptr<Job>& job) const {
  std::vector<const ComplianceSpan*> fresh;
  for (const auto& span : job->fresh) fresh.push_back(&span);
  std::vector<const SignedSpan*> came_signed;
  for (const auto& span : job->came_signed) came_signed.push_back(&span);
  // One after the other: both write into the request.
  keys_.sign(
      job->call, std::move(fresh),
      [this, job, came_signed = std::move(came_signed)](const SpanKeys::Signatures& made) mutable {
        for (std::size_t n = 0; n < made.size(); ++n) {
          if (!made[n]) {
            job->flag(job->to_sign[n], made[n].error().message);
            continue;
          }
          const auto& span = job->fresh[n];
          const auto json = span.signed_json(made[n]->key_id, made[n]->bytes);
          if (json.size() > leaf_bytes_max) {
            job->flag(job->to_sign[n],
                      fmt::format("signed it has {} bytes; at most {} go into the log of evidence",
                                  json.size(), leaf_bytes_max));
            continue;
          }
          set_signature(*job->otlp, job->to_sign[n], made[n]->key_id, made[n]->bytes);
          job->leaves.push_back({.tenant = span.tenant(), .bytes = std::string(json)});
        }
        keys_.verify(job->call, std::move(came_signed),
                     [this, job](const SpanKeys::Verifications& verified) {
                       for (std::size_t n = 0; n < verified.size(); ++n) {
                         const auto verdict = verdict_of(job->came_signed[n], verified[n]);
                         if (verdict && verdict->valid) {
                           ++job->already_signed;
                         } else {
                           job->flag(job->to_verify[n],
                                     "it came with a signature: " +
                                         (verdict ? verdict->message : verdict.error().message));
                         }
                       }
                       finish(job);
                     });
      });
}

// What the sender is told besides; empty: all went well.
std::string OtlpIngest::warning_of(const Job& job, std::size_t signed_now) const {
  std::vector<std::string> said;
  if (job.failed > 0) {
    said.push_back(
        fmt::format("{} of {} compliance items could not be signed and {}; the first: {}",
                    job.failed, signed_now + job.already_signed + job.failed,
                    parts_.forwards ? "went on with the status signing_failed" : "are kept nowhere",
                    job.first_failure));
  }
  if (!parts_.forwards) {
    said.push_back(
        fmt::format("{} of {} items were signed and are in the evidence log; nothing is "
                    "forwarded: betrace.otlp.forward-endpoint is not set",
                    signed_now, job.otlp->items()));
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
  const auto log = parts_.evidence.log != nullptr
                       ? parts_.evidence.log->get()
                       : fail(ErrorCode::store_unavailable,
                              "OTLP needs the evidence log: betrace.evidence.log.enabled is false");
  if (!log) return job->done(std::unexpected(log.error()));
  const auto signal = signal_of(job->request);
  std::vector<JournalRecord> payload;
  if (parts_.forwards) {
    payload.push_back({.kind = signal == OtlpSignal::traces ? traces_record : logs_record,
                       .bytes = job->otlp->encode()});
  }
  const auto signed_now = job->leaves.size();
  (*log)->append(
      std::move(job->leaves), std::move(payload),
      [this, job, signal, signed_now](const Result<std::vector<std::uint64_t>>& written) {
        if (!written) return job->done(std::unexpected(written.error()));
        auto& metrics = parts_.evidence.metrics;
        const auto items = job->otlp->items();
        const auto compliance = signed_now + job->already_signed + job->failed;
        const auto count = [&](std::string_view result, std::size_t number) {
          metrics.otlp_items(to_string(signal), result).Increment(static_cast<double>(number));
        };
        count("signed", signed_now);
        count("signed_before", job->already_signed);
        count("signing_failed", job->failed);
        count("passed", items - compliance);
        job->done(StreamAnswer{
            .content_type =
                job->encoding == OtlpEncoding::json ? "application/json" : "application/x-protobuf",
            .body = otlp_response(signal, job->encoding, warning_of(*job, signed_now))});
      });
}

}  // namespace betrace::kms
