#include "telemetry/span_exporter.h"

#include <algorithm>

#include <fmt/format.h>
#include <pthread.h>

#include "base/http_time.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::minutes between_lines{1};
constexpr milliseconds longest_told = std::chrono::minutes(5);

bool is_retryable_status(int status) {
  return status == 429 || status == 502 || status == 503 || status == 504;
}

}  // namespace

SpanExporter::SpanExporter(SpanExporterOptions options, HttpClient& http, const Clock& clock,
                           prometheus::Counter& dropped)
    : options_(std::move(options)),
      http_(http),
      clock_(clock),
      dropped_(dropped),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

SpanExporter::~SpanExporter() {
  {
    const std::lock_guard lock(mutex_);
    end_by_ = clock_.steady_now() + options_.flush_timeout;
  }
  thread_.request_stop();
  thread_.join();
}

void SpanExporter::take(std::unique_ptr<SpanData> span) {
  std::size_t waiting = 0;
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() == options_.queue_max) {
      ++overflowed_;
      dropped_.Increment();
      return;
    }
    queue_.push_back(std::move(span));
    waiting = queue_.size();
  }
  if (waiting == options_.batch_max) wake_.notify_one();
}

void SpanExporter::run(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "kms-traces");
  for (;;) {
    const auto batch = next_batch(stop);
    if (!batch.empty()) {
      deliver(batch, stop);
    } else if (stop.stop_requested()) {
      return;
    }
  }
}

SpanExporter::Batch SpanExporter::next_batch(const std::stop_token& stop) {
  Batch batch;
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, stop, options_.batch_delay,
                 [&] { return queue_.size() >= options_.batch_max; });
  while (!queue_.empty() && batch.size() < options_.batch_max) {
    batch.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  untold_ += std::exchange(overflowed_, 0);
  lock.unlock();
  if (untold_ > 0) say_dropped("the queue was full");
  return batch;
}

void SpanExporter::deliver(const Batch& batch, const std::stop_token& stop) {
  HttpCall call{.method = "POST", .url = options_.url, .headers = options_.headers};
  call.headers.emplace_back("Content-Type", "application/x-protobuf");
  const auto body = encode_traces(options_.resource, batch);
  call.body.assign(body.begin(), body.end());
  const auto give_up_at = clock_.steady_now() + options_.give_up_after;
  for (auto pause = options_.first_pause;; pause = std::min(2 * pause, options_.longest_pause)) {
    call.timeout = options_.call_timeout;
    if (stop.stop_requested()) {
      const std::lock_guard lock(mutex_);
      const auto left = std::chrono::ceil<milliseconds>(end_by_ - clock_.steady_now());
      call.timeout = std::min(call.timeout, left);
    }
    if (call.timeout <= milliseconds(0)) return drop(batch.size(), "the service is ending");
    const auto attempt = send(call);
    say_failing(attempt.outcome != Outcome::sent, attempt.reason);
    if (attempt.outcome == Outcome::sent) return;
    const auto wait = std::max(pause, attempt.pause);
    if (attempt.outcome == Outcome::refused || stop.stop_requested() ||
        clock_.steady_now() + wait > give_up_at) {
      return drop(batch.size(), attempt.reason);
    }
    // Woken by the end of the service, it tries once more.
    clock_.sleep_for(wait, stop);
  }
}

SpanExporter::Attempt SpanExporter::send(const HttpCall& call) const {
  const auto answer = http_.send(call);
  if (!answer) return {.outcome = Outcome::again, .reason = answer.error().message};
  if (answer->status >= 200 && answer->status < 300) return {};
  const auto said = parse_retry_after(answer->header("retry-after"), clock_.now());
  return {.outcome = is_retryable_status(answer->status) ? Outcome::again : Outcome::refused,
          .reason = fmt::format("the collector answered HTTP {}", answer->status),
          .pause = std::min(said.value_or(milliseconds(0)), longest_told)};
}

void SpanExporter::drop(std::size_t spans, const std::string& reason) {
  dropped_.Increment(static_cast<double>(spans));
  untold_ += spans;
  say_dropped(reason);
}

// On change, so that a wrong address is known at once and an outage fills no log.
void SpanExporter::say_failing(bool failing, const std::string& reason) {
  if (failing == std::exchange(failing_, failing)) return;
  auto& log = logger(log_category::kms);
  if (failing) {
    log.warn("Traces cannot be exported: {}", reason);
  } else {
    log.info("Traces are exported again");
  }
}

void SpanExporter::say_dropped(const std::string& reason) {
  const auto now = clock_.steady_now();
  if (now < next_line_) return;
  next_line_ = now + between_lines;
  logger(log_category::kms)
      .warn("{} trace spans were not exported: {}", std::exchange(untold_, 0), reason);
}

}  // namespace betrace::kms
