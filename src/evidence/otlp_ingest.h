// OTLP in the stream: requests of an OpenTelemetry pipeline come in, their compliance spans and log
// records are signed, everything is put on the disk, and then answered; the forwarder takes it on
// from there. Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "betrace/kms/authorizer.h"
#include "betrace/kms/evidence.h"

#include "evidence/evidence_service.h"
#include "evidence/logged_spans.h"
#include "evidence/span_keys.h"

namespace betrace::kms {

struct OtlpIngestParts {
  EvidenceParts evidence;  // its log is needed
  bool forwards = false;   // whether somebody takes on what is put into the journal
  bool log_only = false;   // an item's place in the log stands for a signature
};

class OtlpIngest final : public EvidenceStream {
 public:
  // Kinds of records in the journal: requests of either signal, as protobuf.
  static constexpr std::uint8_t traces_record = 2, logs_record = 3;

  explicit OtlpIngest(OtlpIngestParts parts)
      : parts_(std::move(parts)),
        keys_(parts_.evidence.keys, parts_.evidence.signer, parts_.evidence.create_tenant),
        logged_(parts_.evidence.log, parts_.evidence.blocking) {}

  void take(CallContext call, StreamRequest request, Done<StreamAnswer> done) override;

 private:
  struct Job;
  using Next = std::move_only_function<void()>;
  void sort(Job& job) const;
  // What was sorted, one after the other: all of it writes into the request.
  void sign(const std::shared_ptr<Job>& job, Next next) const;
  void admit(const std::shared_ptr<Job>& job, Next next) const;
  void verify(const std::shared_ptr<Job>& job, Next next) const;
  void prove_age(const std::shared_ptr<Job>& job, Next next) const;
  void refuse_other_logs(Job& job) const;
  void look_up(const std::shared_ptr<Job>& job, Next next) const;
  void finish(const std::shared_ptr<Job>& job) const;
  void append(const std::shared_ptr<Job>& job, EvidenceLog& log) const;
  JournalRecord payload_of(const Job& job) const;
  void answer(Job& job) const;
  std::string warning_of(const Job& job) const;

  const OtlpIngestParts parts_;
  const SpanKeys keys_;
  const LoggedSpans logged_;
};

}  // namespace betrace::kms
