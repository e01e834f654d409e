// The place of the evidence log, which may be taken: by another daemon on the same folder, or by
// damage. Tries again until it has it. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"

#include "evidence/evidence_log.h"

namespace betrace::kms {

class LogSlot {
 public:
  using Open = std::function<Result<std::unique_ptr<EvidenceLog>>()>;
  // Makes what works on the log by itself; it goes before the log does.
  using Companion = std::function<std::shared_ptr<void>(EvidenceLog&)>;
  // Opens it now, and every two seconds while another process has it or the disk takes nothing;
  // `clock` must outlive this.
  LogSlot(Open open, const Clock& clock, Companion companion = {});
  ~LogSlot();
  LogSlot(const LogSlot&) = delete;
  LogSlot& operator=(const LogSlot&) = delete;

  // Stays where it is from then on. Errors: store_unavailable, saying who has it or what is wrong.
  Result<EvidenceLog*> get() const;

 private:
  bool try_to_open();  // whether to try again

  const Open open_;
  const Clock& clock_;
  const Companion make_companion_;
  mutable std::mutex mutex_;
  std::unique_ptr<EvidenceLog> log_;
  std::shared_ptr<void> companion_;
  Error why_not_;
  std::jthread thread_;
};

}  // namespace betrace::kms
