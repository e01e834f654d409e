#include "providers/aws_credentials.h"

#include <fmt/format.h>

#include "base/try.h"
#include "providers/aws_profile_credentials.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

// As the AWS SDKs do: well before the old ones end.
constexpr auto refresh_before_expiry = std::chrono::minutes(5);
constexpr auto retry_pause = std::chrono::seconds(10);

}  // namespace

EnvironmentCredentials::EnvironmentCredentials(EnvironmentVariables environment)
    : environment_(std::move(environment)) {}

std::string EnvironmentCredentials::description() const {
  return "environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)";
}

Result<std::optional<AwsCredentials>> EnvironmentCredentials::load(const CallContext&) {
  const auto variable = [&](const char* name) {
    return environment_ ? environment_(name).value_or("") : std::string();
  };
  AwsCredentials found;
  found.access_key_id = variable("AWS_ACCESS_KEY_ID");
  std::string secret = variable("AWS_SECRET_ACCESS_KEY");
  std::string token = variable("AWS_SESSION_TOKEN");
  found.secret_access_key = std::string_view(secret);
  found.session_token = std::string_view(token);
  wipe(secret.data(), secret.size());
  wipe(token.data(), token.size());
  if (found.access_key_id.empty() && found.secret_access_key.empty()) return std::nullopt;
  if (found.access_key_id.empty() || found.secret_access_key.empty()) {
    return fail(
        ErrorCode::kms_access_denied,
        fmt::format("AWS credentials in the environment are incomplete: {} is not set",
                    found.access_key_id.empty() ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY"));
  }
  return found;
}

AwsCredentialCache::AwsCredentialCache(std::vector<std::unique_ptr<CredentialSource>> sources,
                                       const Clock& clock)
    : sources_(std::move(sources)), clock_(clock) {}

bool AwsCredentialCache::is_valid(SystemTime now) const {
  return current_ && (!current_->expires_at || now < *current_->expires_at);
}

bool AwsCredentialCache::is_due(SystemTime now) const {
  if (current_->expires_at && now >= *current_->expires_at - refresh_before_expiry) return true;
  for (const auto& source : sources_) {
    if (source->has_changed()) return true;
  }
  return false;
}

Result<AwsCredentialCache::Pointer> AwsCredentialCache::get(const CallContext& call) {
  std::unique_lock lock(mutex_);
  for (;;) {
    const SystemTime now = clock_.now();
    const bool valid = is_valid(now);
    // While a load runs the sources are its own, so nobody else asks them whether they changed.
    if (valid && (loading_ || now < retry_at_ || !is_due(now))) return current_;
    if (!loading_) return load_here(call, lock);

    const std::uint64_t awaited = loads_;
    if (!loaded_.wait_until(lock, call.deadline, [&] { return loads_ != awaited; })) {
      return fail(ErrorCode::kms_timeout,
                  "timed out while waiting for AWS credentials to be loaded");
    }
    if (last_error_ && !is_valid(clock_.now())) return std::unexpected(*last_error_);
  }
}

Result<AwsCredentialCache::Pointer> AwsCredentialCache::load_here(
    const CallContext& call, std::unique_lock<std::mutex>& lock) {
  loading_ = true;
  const Pointer before = current_;
  lock.unlock();
  auto fresh = load(call);
  lock.lock();
  loading_ = false;
  ++loads_;
  loaded_.notify_all();
  const SystemTime now = clock_.now();
  if (fresh) {
    last_error_.reset();
    current_ = *fresh;
    // What is handed out with less than five minutes to live must not be fetched for every call.
    retry_at_ = is_due(now) ? now + retry_pause : SystemTime{};
    return fresh;
  }
  last_error_ = fresh.error();
  // Unless somebody had them refused meanwhile, the old ones still serve.
  if (current_ != before || !is_valid(now)) return fresh;
  retry_at_ = now + retry_pause;
  logger(log_category::kms)
      .warn("AWS credentials could not be refreshed, the present ones go on: {}",
            fresh.error().message);
  return current_;
}

Result<AwsCredentialCache::Pointer> AwsCredentialCache::load(const CallContext& call) {
  std::string looked_in;
  for (const auto& source : sources_) {
    auto found = TRY(source->load(call));
    if (found) {
      logger(log_category::aws_sdk).debug("AWS credentials from {}", source->description());
      return std::make_shared<const AwsCredentials>(*std::move(found));
    }
    looked_in += (looked_in.empty() ? "" : ", ") + source->description();
  }
  return fail(ErrorCode::kms_access_denied,
              fmt::format("no AWS credentials found; looked in: {}", looked_in));
}

void AwsCredentialCache::forget(const Pointer& refused) {
  const std::lock_guard lock(mutex_);
  if (current_ == refused) {
    current_.reset();
    retry_at_ = {};
  }
}

AwsCredentialCache make_aws_credentials(const ProviderEnvironment& environment,
                                        const std::string& region, const std::string& sts_url) {
  std::vector<std::unique_ptr<CredentialSource>> sources;
  if (!environment.settings(aws_profile_setting)) {
    sources.push_back(std::make_unique<EnvironmentCredentials>(environment.environment));
  }
  sources.push_back(std::make_unique<ProfileCredentials>(environment, region, sts_url));
  return AwsCredentialCache(std::move(sources), environment.clock);
}

}  // namespace betrace::kms
