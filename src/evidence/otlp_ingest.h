// OTLP in the stream: requests of an OpenTelemetry pipeline come in, their compliance spans and log
// records are signed, everything is put on the disk, and then answered; the forwarder takes it on
// from there. Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "betrace/kms/authorizer.h"
#include "betrace/kms/evidence.h"

#include "evidence/evidence_service.h"
#include "evidence/frameworks.h"
#include "evidence/log_slot.h"
#include "evidence/span_keys.h"

namespace betrace::kms {

struct OtlpIngestParts {
  EvidenceParts evidence;  // its log is needed
  bool forwards = false;   // whether somebody takes on what is put into the journal
};

class OtlpIngest final : public EvidenceStream {
 public:
  // Kinds of records in the journal: requests of either signal, as protobuf.
  static constexpr std::uint8_t traces_record = 2, logs_record = 3;

  explicit OtlpIngest(OtlpIngestParts parts)
      : parts_(std::move(parts)),
        keys_(parts_.evidence.keys, parts_.evidence.signer, parts_.evidence.create_tenant) {}

  void take(CallContext call, StreamRequest request, Done<StreamAnswer> done) override;

 private:
  struct Job;
  void sort(Job& job) const;
  void sign_and_verify(const std::shared_ptr<Job>& job) const;
  void finish(const std::shared_ptr<Job>& job) const;
  std::string warning_of(const Job& job, std::size_t signed_now) const;

  const OtlpIngestParts parts_;
  const SpanKeys keys_;
};

}  // namespace betrace::kms
