// What a provider logs in with (session keys, tokens), kept until shortly before it expires, is
// refused, or its origin changes. One thread loads at a time, however many call: the others go on
// with what is still valid, else wait for it until their deadline. Thread-safe.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "betrace/kms/call_context.h"
#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

#include "telemetry/log.h"

namespace betrace::kms {

// A bearer token with its life, as most servers give one.
struct Token {
  WipedString value;
  std::optional<SystemTime> expires_at = {};  // absent: not known to expire
  SystemTime obtained_at = {};
};

// `Credentials` has `std::optional<SystemTime> expires_at`.
template <class Credentials>
class CredentialCache {
 public:
  using Pointer = std::shared_ptr<const Credentials>;

  // Called by one thread at a time.
  struct Origin {
    std::string what;  // for people: "AWS credentials"
    // `previous`: what is to be renewed; null when there is none, or when it was refused.
    std::function<Result<Credentials>(const CallContext&, const Pointer& previous)> load;
    // Whether load() would look at something newer than last time; may be empty.
    std::function<bool()> has_changed = {};
  };

  // `clock` must outlive this.
  CredentialCache(Origin origin, const Clock& clock) : origin_(std::move(origin)), clock_(clock) {}

  // Errors: what the origin answers; kms_timeout.
  Result<Pointer> get(const CallContext& call);
  // Whether the origin has something newer than what get() answers; not known while that is loaded.
  bool has_newer();
  // The server refused these: the next get() loads anew.
  void forget(const Pointer& refused);

 private:
  // As the AWS SDKs do: well before the old ones end; of a short life, in its last third.
  static constexpr std::chrono::milliseconds refresh_before_expiry = std::chrono::minutes(5);
  static constexpr auto retry_pause = std::chrono::seconds(10);

  bool is_valid(SystemTime now) const {
    return current_ && (!current_->expires_at || now < *current_->expires_at);
  }
  bool is_due(SystemTime now) const {
    return now >= due_at_ || (origin_.has_changed && origin_.has_changed());
  }
  void keep(Pointer fresh, SystemTime now);
  Result<Pointer> load_here(const CallContext& call, std::unique_lock<std::mutex>& lock);

  const Origin origin_;
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable loaded_;
  Pointer current_;
  bool loading_ = false;
  std::uint64_t loads_ = 0;
  std::optional<Error> last_error_;
  SystemTime due_at_{};
  SystemTime retry_at_{};  // not before, after a load failed while the old ones were valid
};

template <class Credentials>
auto CredentialCache<Credentials>::get(const CallContext& call) -> Result<Pointer> {
  std::unique_lock lock(mutex_);
  for (;;) {
    const SystemTime now = clock_.now();
    const bool valid = is_valid(now);
    // While a load runs the origin is its own, so nobody else asks it whether it changed.
    if (valid && (loading_ || now < retry_at_ || !is_due(now))) return current_;
    if (!loading_) return load_here(call, lock);

    const std::uint64_t awaited = loads_;
    if (!loaded_.wait_until(lock, call.deadline, [&] { return loads_ != awaited; })) {
      return fail(ErrorCode::kms_timeout,
                  fmt::format("timed out while waiting for {} to be loaded", origin_.what));
    }
    if (last_error_ && !is_valid(clock_.now())) return std::unexpected(*last_error_);
  }
}

template <class Credentials>
auto CredentialCache<Credentials>::load_here(const CallContext& call,
                                             std::unique_lock<std::mutex>& lock)
    -> Result<Pointer> {
  loading_ = true;
  const Pointer before = current_;
  // Where the origin does not answer at all, the present ones need the rest of the time.
  CallContext asked = call;
  const auto begun = clock_.steady_now();
  if (is_valid(clock_.now())) asked.deadline = begun + (call.deadline - begun) / 2;
  lock.unlock();
  auto fresh = origin_.load(asked, before);
  lock.lock();
  loading_ = false;
  ++loads_;
  loaded_.notify_all();
  const SystemTime now = clock_.now();
  if (fresh) {
    last_error_.reset();
    keep(std::make_shared<const Credentials>(*std::move(fresh)), now);
    return current_;
  }
  last_error_ = fresh.error();
  // Unless somebody had them refused meanwhile, the old ones still serve.
  if (current_ != before || !is_valid(now)) return std::unexpected(fresh.error());
  retry_at_ = now + retry_pause;
  logger(log_category::kms)
      .warn("{} could not be refreshed, the present ones go on: {}", origin_.what,
            fresh.error().message);
  return current_;
}

template <class Credentials>
void CredentialCache<Credentials>::keep(Pointer fresh, SystemTime now) {
  current_ = std::move(fresh);
  due_at_ = SystemTime::max();
  if (const auto end = current_->expires_at) {
    due_at_ = *end - std::min(refresh_before_expiry, (*end - now) / 3);
  }
  // What is handed out with next to no life left must not be fetched for every call.
  retry_at_ = is_due(now) ? now + retry_pause : SystemTime{};
}

template <class Credentials>
bool CredentialCache<Credentials>::has_newer() {
  const std::lock_guard lock(mutex_);
  return !loading_ && origin_.has_changed && origin_.has_changed();
}

template <class Credentials>
void CredentialCache<Credentials>::forget(const Pointer& refused) {
  const std::lock_guard lock(mutex_);
  if (current_ != refused) return;
  current_.reset();
  retry_at_ = {};
}

// `send` with what the cache has; where the server refuses it (`is_refusal`), once more with
// others. What is younger than ten seconds is not refused for its age: a policy that refuses
// everything must not cause a log-in for every call; unless its origin has others since, such as a
// file that was read while it was written. `Credentials` has `SystemTime obtained_at`.
template <class Credentials, class Send, class IsRefusal>
auto call_with(CredentialCache<Credentials>& cache, const Clock& clock, const CallContext& call,
               Send send, IsRefusal is_refusal) -> std::invoke_result_t<Send, const Credentials&> {
  constexpr std::chrono::seconds between_log_ins{10};
  const auto held = cache.get(call);
  if (!held) return std::unexpected(held.error());
  auto answer = send(**held);
  if (answer || !is_refusal(answer.error())) return answer;
  // A clock that was set back makes nothing young.
  const auto age = clock.now() - (*held)->obtained_at;
  const bool young = age >= age.zero() && age < between_log_ins;
  if (young && !cache.has_newer()) return answer;
  cache.forget(*held);
  const auto fresh = cache.get(call);
  if (!fresh) return std::unexpected(fresh.error());
  return send(**fresh);
}

}  // namespace betrace::kms
