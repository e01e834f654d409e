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

Result<std::unique_ptr<CheckpointPush>> CheckpointPush::to(std::string target, std::string memory,
                                                           HttpClient& http, const Clock& clock,
                                                           Metrics& metrics) {
  const bool file = target.starts_with("file:/");
  if (!file && !target.starts_with("https://") && !target.starts_with("http://")) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("'{}' is not accepted; file:/FOLDER, https://… or http://… is", target));
  }
  while (target.size() > std::string_view("file:/").size() && target.ends_with('/')) {
    target.pop_back();
  }
  std::unique_ptr<CheckpointPush> push(
      new CheckpointPush(std::move(target), std::move(memory), http, clock, metrics));
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
  keep(checkpoint);
  wake_.notify_one();
}

void CheckpointPush::keep(const EvidenceLog::Published& checkpoint) {
  const std::lock_guard lock(mutex_);
  auto& newest = waiting_.try_emplace(checkpoint.tenant, checkpoint).first->second;
  if (newest.checkpoint.size < checkpoint.checkpoint.size) newest = checkpoint;
}

std::unique_ptr<std::jthread> CheckpointPush::catch_up(const EvidenceLog& log) {
  return std::make_unique<std::jthread>([this, &log](const std::stop_token& stop) {
    pthread_setname_np(pthread_self(), "kms-catch-up");
    const auto tenants = log.tenants();
    if (!tenants) {
      logger(log_category::kms)
          .warn("checkpoints of before the start are not handed on: {}", tenants.error().message);
      return;
    }
    for (const auto& tenant : *tenants) {
      if (stop.stop_requested()) return;
      const auto newest = log.published(tenant);
      if (newest && !got_there(*newest)) push(*newest);
    }
  });
}

// --- what got there -----------------------------------------------------------------------------

std::string CheckpointPush::memory_of(const TenantId& tenant) const {
  return fmt::format("{}/t-{}", memory_, tenant.str());
}

// It, or a newer one.
bool CheckpointPush::got_there(const EvidenceLog::Published& checkpoint) const {
  const auto remark = read_whole_file(memory_of(checkpoint.tenant));
  if (!remark || !*remark) return false;
  const std::string_view text = **remark;
  const auto end = text.find(' ');
  const auto size = parse_decimal(text.substr(0, end));
  return size && *size >= checkpoint.checkpoint.size && text.substr(end + 1) == target_;
}

// Nothing is synchronised: what is forgotten is handed on twice.
Status CheckpointPush::remember(const EvidenceLog::Published& checkpoint) const {
  std::error_code error;
  std::filesystem::create_directories(memory_, error);
  return write_file(memory_of(checkpoint.tenant),
                    fmt::format("{} {}", checkpoint.checkpoint.size, target_));
}

// --- handing on ---------------------------------------------------------------------------------

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
      if (got_there(checkpoint)) continue;
      const auto delivered = deliver(checkpoint);
      metrics_.evidence_pushes(delivered ? "sent" : "failed").Increment();
      const auto remembered = delivered ? remember(checkpoint) : delivered;
      if (!remembered) {
        logger(log_category::kms)
            .warn("the checkpoint of tenant {} was {}: {}", tenant.str(),
                  delivered ? "handed on, and will be once more" : "not handed on",
                  remembered.error().message);
      }
      if (delivered) continue;
      failed = true;
      keep(checkpoint);
    }
    if (failed) clock_.sleep_for(pause, stop);
    pause = failed ? std::min(pause * 2, longest_pause) : first_pause;
  }
}

}  // namespace betrace::kms
