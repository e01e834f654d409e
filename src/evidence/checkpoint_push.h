// Hands checkpoints to somebody else, so that the log cannot be made to forget: to files of a
// folder, one for each checkpoint, or to a URL by POST. The newest one of each tenant is tried
// until it got there, across restarts. Thread-safe.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"

#include "base/http.h"
#include "evidence/evidence_log.h"
#include "telemetry/metrics.h"

namespace betrace::kms {

class CheckpointPush {
 public:
  // `target`: "file:/FOLDER", where it becomes FOLDER/t-TENANT/SIZE, or http(s)://…, to which
  // "/TENANT" is added. `memory`: a folder, for how far each tenant's got there. Errors:
  // invalid_argument. What is given must outlive this.
  static Result<std::unique_ptr<CheckpointPush>> to(std::string target, std::string memory,
                                                    HttpClient& http, const Clock& clock,
                                                    Metrics& metrics);
  ~CheckpointPush();

  void push(const EvidenceLog::Published& checkpoint);
  // Pushes what the log published before and what did not get there, as a restart or another target
  // leaves it, on a thread that ends with what is answered, which must go before both.
  std::unique_ptr<std::jthread> catch_up(const EvidenceLog& log);

 private:
  CheckpointPush(std::string target, std::string memory, HttpClient& http, const Clock& clock,
                 Metrics& metrics)
      : target_(std::move(target)),
        memory_(std::move(memory)),
        http_(http),
        clock_(clock),
        metrics_(metrics) {}
  void run(const std::stop_token& stop);
  void keep(const EvidenceLog::Published& checkpoint);
  Status deliver(const EvidenceLog::Published& checkpoint);
  std::string memory_of(const TenantId& tenant) const;
  bool got_there(const EvidenceLog::Published& checkpoint) const;
  Status remember(const EvidenceLog::Published& checkpoint) const;

  const std::string target_, memory_;
  HttpClient& http_;
  const Clock& clock_;
  Metrics& metrics_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::map<TenantId, EvidenceLog::Published> waiting_;
  std::jthread thread_;
};

}  // namespace betrace::kms
