// Sends finished spans to a collector over OTLP/HTTP, in batches, on a thread of its own. What does
// not fit into the queue, or was refused, or could not be sent in time, is dropped and counted: a
// collector that is down never holds up a request. Thread-safe.
//
// Retries after OTLP's specification, section "OTLP/HTTP Response": 429, 502, 503, 504 and no
// answer are tried again, exponentially later or as Retry-After says; anything else is final.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include <prometheus/counter.h>

#include "base/http.h"
#include "telemetry/otlp.h"
#include "telemetry/trace.h"

namespace betrace::kms {

struct SpanExporterOptions {
  std::string url;  // whole, "http://localhost:4318/v1/traces"
  Headers headers;
  ResourceAttributes resource;
  std::size_t queue_max = 2048;
  std::size_t batch_max = 512;
  std::chrono::milliseconds batch_delay{5000};
  std::chrono::milliseconds call_timeout{5000};
  std::chrono::milliseconds first_pause{1000}, longest_pause{30'000};
  std::chrono::milliseconds give_up_after{60'000};  // on one batch
  std::chrono::milliseconds flush_timeout{5000};    // when it ends
};

class SpanExporter final : public SpanSink {
 public:
  // All of them must outlive it.
  SpanExporter(SpanExporterOptions options, HttpClient& http, const Clock& clock,
               prometheus::Counter& dropped);
  // Sends what is queued, each batch once, within the flush time-out.
  ~SpanExporter() override;

  void take(std::unique_ptr<SpanData> span) override;

 private:
  using Batch = std::vector<std::unique_ptr<SpanData>>;
  enum class Outcome : std::uint8_t { sent, again, refused };
  struct Attempt {
    Outcome outcome = Outcome::sent;
    std::string reason;
    std::chrono::milliseconds pause{};  // as the collector asks
  };

  void run(const std::stop_token& stop);
  Batch next_batch(const std::stop_token& stop);
  void deliver(const Batch& batch, const std::stop_token& stop);
  Attempt send(const HttpCall& call) const;
  void drop(std::size_t spans, const std::string& reason);
  void say_dropped(const std::string& reason);
  void say_failing(bool failing, const std::string& reason);

  const SpanExporterOptions options_;
  HttpClient& http_;
  const Clock& clock_;
  prometheus::Counter& dropped_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<std::unique_ptr<SpanData>> queue_;
  std::size_t overflowed_ = 0;  // since the thread looked last
  std::chrono::steady_clock::time_point end_by_ = std::chrono::steady_clock::time_point::max();
  // Of the thread alone: whether the last call failed, and drops that the log has not told.
  bool failing_ = false;
  std::size_t untold_ = 0;
  std::chrono::steady_clock::time_point next_line_ = std::chrono::steady_clock::time_point::min();
  std::jthread thread_;  // last: it uses the others
};

}  // namespace betrace::kms
