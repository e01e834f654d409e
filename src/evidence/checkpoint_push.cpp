#include "evidence/checkpoint_push.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>
#include <pthread.h>

#include "base/durable_file.h"
#include "base/encoding.h"
#include "base/try.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::string_view file_scheme = "file:";
constexpr std::chrono::milliseconds first_pause{1000}, longest_pause{60'000};

Status write_to_folder(const std::string& folder, const EvidenceLog::Published& checkpoint) {
  const auto its_own = fmt::format("{}/t-{}", folder, checkpoint.tenant.str());
  std::error_code error;
  std::filesystem::create_directories(its_own, error);
  if (error) {
    return fail(ErrorCode::store_unavailable,
                fmt::format("cannot make {}: {}", its_own, error.message()));
  }
  return replace_file(fmt::format("{}/{:020}", its_own, checkpoint.checkpoint.size),
                      checkpoint.note);
}

}  // namespace

Result<std::unique_ptr<CheckpointPush>> CheckpointPush::to(std::string target, HttpClient& http,
                                                           const Clock& clock, Metrics& metrics) {
  const bool file = target.starts_with("file:/");
  if (!file && !target.starts_with("https://") && !target.starts_with("http://")) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("'{}' is not accepted; file:/FOLDER, https://… or http://… is", target));
  }
  while (target.size() > std::string_view("file:/").size() && target.ends_with('/')) {
    target.pop_back();
  }
  std::unique_ptr<CheckpointPush> push(new CheckpointPush(std::move(target), http, clock, metrics));
  push->thread_ = std::jthread([raw = push.get()](const std::stop_token& stop) {
    pthread_setname_np(pthread_self(), "kms-push");
    raw->run(stop);
  });
  return push;
}

CheckpointPush::~CheckpointPush() {
  thread_.request_stop();
  thread_.join();
}

void CheckpointPush::push(const EvidenceLog::Published& checkpoint) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.insert_or_assign(checkpoint.tenant, checkpoint);
  }
  wake_.notify_one();
}

Status CheckpointPush::deliver(const EvidenceLog::Published& checkpoint) {
  if (target_.starts_with(file_scheme)) {
    return write_to_folder(target_.substr(file_scheme.size()), checkpoint);
  }
  HttpCall call{.method = "POST",
                .url = target_ + "/" + percent_encode(checkpoint.tenant.str()),
                .headers = {{"Content-Type", "text/plain; charset=utf-8"}}};
  call.body.assign(checkpoint.note.begin(), checkpoint.note.end());
  const auto answer = TRY(http_.send(call));
  if (answer.status >= 200 && answer.status < 300) return {};
  return fail(ErrorCode::kms_unavailable, fmt::format("{} answered {}", call.url, answer.status));
}

void CheckpointPush::run(const std::stop_token& stop) {
  auto pause = first_pause;
  while (!stop.stop_requested()) {
    std::map<TenantId, EvidenceLog::Published> taken;
    {
      std::unique_lock lock(mutex_);
      if (!wake_.wait(lock, stop, [this] { return !waiting_.empty(); })) return;
      taken.swap(waiting_);
    }
    bool failed = false;
    for (const auto& [tenant, checkpoint] : taken) {
      if (stop.stop_requested()) return;
      const auto delivered = deliver(checkpoint);
      metrics_.evidence_pushes(delivered ? "sent" : "failed").Increment();
      if (delivered) continue;
      logger(log_category::kms)
          .warn("the checkpoint of tenant {} was not handed on: {}", tenant.str(),
                delivered.error().message);
      failed = true;
      const std::lock_guard lock(mutex_);
      waiting_.try_emplace(tenant, checkpoint);  // unless there is a newer one
    }
    if (failed) clock_.sleep_for(pause, stop);
    pause = failed ? std::min(pause * 2, longest_pause) : first_pause;
  }
}

}  // namespace betrace::kms
