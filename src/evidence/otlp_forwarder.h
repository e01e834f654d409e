// Takes what the journal has for the rest of the pipeline there: OTLP requests, several in one,
// tried until they are taken. What is refused for good is set aside in a file, waits while it
// cannot be, and is never dropped. Runs by itself until it goes.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <thread>

#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"

#include "base/http.h"
#include "base/otlp.h"
#include "evidence/journal.h"
#include "telemetry/metrics.h"

namespace betrace::kms {

struct OtlpForwarderOptions {
  std::string endpoint;  // "http://collector:4318"; /v1/traces and /v1/logs are put behind it
  Headers headers;
  std::string refused_folder;          // where what is refused for good is kept
  std::size_t batch_bytes = 4U << 20;  // uncompressed
  std::chrono::milliseconds timeout{10'000};
  std::chrono::milliseconds pause{500}, longest_pause{30'000};
};

class OtlpForwarder {
 public:
  static constexpr std::string_view consumer = "forward";  // of the journal

  // What is given must outlive this.
  OtlpForwarder(OtlpForwarderOptions options, Journal& journal, HttpClient& http,
                const Clock& clock, Metrics& metrics);
  ~OtlpForwarder();

 private:
  void run(const std::stop_token& stop);
  void say_queue();
  void wait(std::chrono::milliseconds time, const std::stop_token& stop);
  bool forward(const JournalSegment::Batches& batches, const std::stop_token& stop);
  bool deliver(OtlpSignal signal, const std::vector<std::string_view>& requests,
               const std::stop_token& stop);
  struct Outcome;
  Outcome send(OtlpSignal signal, const std::string& body);
  Status set_aside(OtlpSignal signal, std::string_view request, std::string_view why) const;

  const OtlpForwarderOptions options_;
  Journal& journal_;
  HttpClient& http_;
  const Clock& clock_;
  Metrics& metrics_;
  bool was_down_ = false;
  std::jthread thread_;
};

}  // namespace betrace::kms
