#include "evidence/log_slot.h"

#include <pthread.h>

#include "telemetry/log.h"

namespace betrace::kms {

LogSlot::LogSlot(Open open, const Clock& clock, Companion companion)
    : open_(std::move(open)), clock_(clock), make_companion_(std::move(companion)) {
  if (!try_to_open()) return;
  thread_ = std::jthread([this](const std::stop_token& stop) {
    pthread_setname_np(pthread_self(), "kms-log-slot");
    while (clock_.sleep_for(std::chrono::seconds(2), stop) && try_to_open()) {
    }
  });
}

LogSlot::~LogSlot() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

bool LogSlot::try_to_open() {
  auto opened = open_();
  std::shared_ptr<void> companion;
  if (opened && make_companion_) companion = make_companion_(**opened);
  auto& log = logger(log_category::kms);
  const std::lock_guard lock(mutex_);
  if (opened) {
    if (!why_not_.message.empty()) log.info("The evidence log is open");
    log_ = *std::move(opened);
    companion_ = std::move(companion);
    return false;
  }
  const auto code = opened.error().code;
  const bool again = code == ErrorCode::conflict || code == ErrorCode::store_unavailable;
  if (opened.error().message != why_not_.message) {
    log.warn("No compliance spans are signed: the evidence log cannot be opened: {}{}",
             opened.error().message, again ? "; trying again" : "");
  }
  why_not_ = std::move(opened).error();
  return again;
}

Result<EvidenceLog*> LogSlot::get() const {
  const std::lock_guard lock(mutex_);
  if (log_) return log_.get();
  return fail(ErrorCode::store_unavailable, "the evidence log cannot be used: " + why_not_.message);
}

}  // namespace betrace::kms
