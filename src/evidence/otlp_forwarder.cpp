#include "evidence/otlp_forwarder.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>
#include <pthread.h>

#include "base/compression.h"
#include "base/durable_file.h"
#include "base/encoding.h"
#include "base/http_time.h"
#include "base/try.h"
#include "evidence/otlp_ingest.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds idle{1000}, longest_told{300'000};

// What says that this very request will never be taken. Everything else is an outage, or a mistake
// in an address or a token that somebody will mend, and evidence waits for it.
bool is_for_good(int status) { return status == 400 || status == 413 || status == 422; }

// Several are refused within one millisecond.
std::string unused_path(const std::string& stem) {
  auto path = stem + ".otlp";
  std::error_code none;
  for (int number = 2; fs::exists(path, none); ++number) {
    path = fmt::format("{}-{}.otlp", stem, number);
  }
  return path;
}

std::string joined(const std::vector<std::string_view>& requests) {
  std::string body;
  for (const auto request : requests) body += request;
  return body;
}

}  // namespace

struct OtlpForwarder::Outcome {
  enum class Kind : std::uint8_t { sent, later, never } kind = Kind::sent;
  std::string why;
  std::optional<std::chrono::milliseconds> wait;
};

OtlpForwarder::OtlpForwarder(OtlpForwarderOptions options, Journal& journal, HttpClient& http,
                             const Clock& clock, Metrics& metrics)
    : options_(std::move(options)),
      journal_(journal),
      http_(http),
      clock_(clock),
      metrics_(metrics),
      thread_([this](const std::stop_token& stop) {
        pthread_setname_np(pthread_self(), "kms-forward");
        run(stop);
      }) {}

OtlpForwarder::~OtlpForwarder() {
  thread_.request_stop();
  thread_.join();
}

void OtlpForwarder::run(const std::stop_token& stop) {
  const std::string name(consumer);
  auto at = journal_.position(name);
  while (!stop.stop_requested()) {
    say_queue();
    if (!journal_.wait_for_more(at, idle, stop)) continue;
    say_queue();
    const auto batches = journal_.read(at, options_.batch_bytes);
    if (!batches) {
      logger(log_category::kms).error("nothing can be forwarded: {}", batches.error().message);
      clock_.sleep_for(options_.longest_pause, stop);
      continue;
    }
    if (!forward(*batches, stop)) continue;
    at = batches->next;
    if (const auto advanced = journal_.advance(name, at); !advanced) {
      logger(log_category::kms)
          .warn("how far was forwarded was not written down: {}", advanced.error().message);
    }
  }
}

void OtlpForwarder::say_queue() {
  metrics_.otlp_queue_bytes.Set(static_cast<double>(journal_.bytes_behind(std::string(consumer))));
}

// The queue grows meanwhile, and whoever watches it is told.
void OtlpForwarder::wait(std::chrono::milliseconds time, const std::stop_token& stop) {
  for (; time.count() > 0 && !stop.stop_requested(); time -= std::min(time, idle)) {
    say_queue();
    clock_.sleep_for(std::min(time, idle), stop);
  }
}

// False when it was stopped.
bool OtlpForwarder::forward(const JournalSegment::Batches& batches, const std::stop_token& stop) {
  for (const auto& [signal, kind] : {std::pair(OtlpSignal::traces, OtlpIngest::traces_record),
                                     std::pair(OtlpSignal::logs, OtlpIngest::logs_record)}) {
    std::vector<std::string_view> requests;
    for (const auto& record : batches.records) {
      if (record.kind == kind) requests.emplace_back(record.bytes);
    }
    if (!requests.empty() && !deliver(signal, requests, stop)) return false;
  }
  return true;
}

// Requests that are refused together are tried one by one, to find the one that is.
bool OtlpForwarder::deliver(OtlpSignal signal, const std::vector<std::string_view>& requests,
                            const std::stop_token& stop) {
  const auto body = joined(requests);
  for (auto pause = options_.pause; !stop.stop_requested();
       pause = std::min(pause * 2, options_.longest_pause)) {
    auto outcome = send(signal, body);
    if (outcome.kind == Outcome::Kind::sent) {
      metrics_.otlp_forwards("sent").Increment();
      if (std::exchange(was_down_, false)) {
        logger(log_category::kms).info("{} takes OTLP again", options_.endpoint);
      }
      return true;
    }
    if (outcome.kind == Outcome::Kind::never && requests.size() > 1) {
      return std::ranges::all_of(
          requests, [&](std::string_view one) { return deliver(signal, {one}, stop); });
    }
    if (outcome.kind == Outcome::Kind::never) {
      const auto kept = set_aside(signal, body, outcome.why);
      if (kept) {
        metrics_.otlp_forwards("refused").Increment();
        return true;
      }
      outcome.why += "; " + kept.error().message;
    }
    metrics_.otlp_forwards("failed").Increment();
    if (!std::exchange(was_down_, true)) {
      logger(log_category::kms)
          .warn("{} does not take OTLP, which waits on the disk: {}", options_.endpoint,
                outcome.why);
    }
    wait(outcome.wait.value_or(pause), stop);
  }
  return false;
}

OtlpForwarder::Outcome OtlpForwarder::send(OtlpSignal signal, const std::string& body) {
  HttpCall call{.method = "POST",
                .url = fmt::format("{}/v1/{}", options_.endpoint, to_string(signal)),
                .headers = options_.headers,
                .timeout = options_.timeout};
  call.headers.emplace_back("Content-Type", "application/x-protobuf");
  call.headers.emplace_back("Content-Encoding", "gzip");
  const auto compressed = gzip(body);
  call.body.assign(compressed.begin(), compressed.end());
  const auto answer = http_.send(call);
  if (!answer) return {.kind = Outcome::Kind::later, .why = answer.error().message};
  if (answer->status >= 200 && answer->status < 300) {
    const auto rejected = read_otlp_response(answer->body);
    if (rejected && rejected->items > 0) {
      logger(log_category::kms)
          .warn("{} took {} but for {} items: {}", options_.endpoint, to_string(signal),
                rejected->items, rejected->message);
    }
    return {};
  }
  auto told = parse_retry_after(answer->header("retry-after"), clock_.now());
  if (told) told = std::min(*told, longest_told);
  return {.kind = is_for_good(answer->status) ? Outcome::Kind::never : Outcome::Kind::later,
          .why = fmt::format("{} answered {}", call.url, answer->status),
          .wait = told};
}

// Errors: store_unavailable.
Status OtlpForwarder::set_aside(OtlpSignal signal, std::string_view request,
                                std::string_view why) const {
  std::error_code error;
  if (fs::create_directories(options_.refused_folder, error)) {
    TRY(sync_folder((fs::path(options_.refused_folder) / "..").string()));
  }
  const auto path = unused_path(fmt::format("{}/{}-{}", options_.refused_folder, to_string(signal),
                                            file_stamp(clock_.now())));
  TRY(replace_file(path, request));
  logger(log_category::kms)
      .error("{}: {} bytes of {} are refused for good, and kept in {}", why, request.size(),
             to_string(signal), path);
  return {};
}

}  // namespace betrace::kms
