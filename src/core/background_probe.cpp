#include "core/background_probe.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/provider_calls.h"

namespace betrace::kms {
namespace {

const EncryptionContext& probe_context() {
  static const EncryptionContext context{{"keyType", "signing"}, {"tenantId", "@probe"}};
  return context;
}

Error failed_to(std::string_view what, Error error) {
  error.message = fmt::format("Failed to {}: {}", what, error.message);
  return error;
}

bool is_silence(const Error& error) {
  return error.code == ErrorCode::kms_unavailable || error.code == ErrorCode::kms_timeout;
}

}  // namespace

BackgroundProbe::BackgroundProbe(Provider& provider, const Clock& clock, ProbeOptions options,
                                 std::stop_token stop)
    : provider_(provider), clock_(clock), options_(options), stop_(std::move(stop)) {}

CallContext BackgroundProbe::call() const {
  auto call = CallContext::system("health-probe");
  call.deadline = clock_.steady_now() + options_.call_timeout;
  call.cancelled = stop_;
  return call;
}

template <class Try>
Status BackgroundProbe::record(const char* operation, Try attempt) {
  const auto begun = clock_.steady_now();
  Status status = attempt();
  const auto took =
      std::chrono::duration_cast<std::chrono::microseconds>(clock_.steady_now() - begun);
  ProbedCall now{.operation = operation, .error = {}, .latency = took, .tries = 1};
  auto& latencies = latencies_[operation];
  if (status) {
    latencies.push_back(took);
    if (latencies.size() > slow_tries_min) latencies.pop_front();
    now.latency = *std::ranges::min_element(latencies);
    now.tries = static_cast<int>(latencies.size());
  } else {
    now.error = status.error();
    latencies.clear();
  }
  calls_.insert_or_assign(operation, std::move(now));
  return status;
}

bool BackgroundProbe::failed_before(const std::string& operation) const {
  const auto found = calls_.find(operation);
  return found != calls_.end() && found->second.error;
}

Status BackgroundProbe::describe() {
  return record("describe_key", [&]() -> Status {
    auto described = provider_.describe_key(call());
    if (!described) return std::unexpected(failed_to("describe the master key", described.error()));
    key_ = *std::move(described);
    return {};
  });
}

Status BackgroundProbe::generate() {
  return record("generate_data_key", [&]() -> Status {
    data_key_at_.reset();
    auto made = provider_.generate_data_key(call(), probe_context());
    if (!made) return std::unexpected(failed_to("generate data key", std::move(made).error()));
    sentinel_ = std::move(made->wrapped);
    sentinel_plaintext_ = std::move(made->plaintext);
    data_key_at_ = clock_.steady_now();
    return {};
  });
}

Status BackgroundProbe::encrypt() {
  return record("encrypt", [&]() -> Status {
    auto wrapped = provider_.encrypt(call(), secret_.expose(), probe_context());
    if (!wrapped) return std::unexpected(failed_to("encrypt", std::move(wrapped).error()));
    return {};
  });
}

Status BackgroundProbe::decrypt() {
  return record("decrypt", [&]() -> Status {
    const auto opened = provider_.decrypt(call(), *sentinel_, probe_context());
    if (!opened) return std::unexpected(failed_to("decrypt a data key", opened.error()));
    if (*opened == sentinel_plaintext_) return {};
    return fail(ErrorCode::corrupt,
                "The provider decrypted the probe's data key to something else");
  });
}

// What is known of the other calls is older than what has just been seen.
void BackgroundProbe::forget_all_but(const std::string& operation) {
  std::erase_if(calls_, [&](const auto& each) { return each.first != operation; });
}

std::optional<Error> BackgroundProbe::try_calls() {
  std::optional<Error> error;
  // Whether the provider is silent: then it is asked for nothing more.
  const auto silent = [&](const char* operation, const Status& status) {
    if (!status && !error) error = status.error();
    if (status || !is_silence(status.error())) return false;
    forget_all_but(operation);
    return true;
  };
  if (silent("describe_key", describe())) return error;
  if (key_ && !key_->usable) {
    forget_all_but("describe_key");
    return Error{
        .code = ErrorCode::kms_key_disabled,
        .message = fmt::format("The master key {} is in state {}", key_->key_id, key_->state),
        .type = key_->state};
  }
  const bool due =
      !data_key_at_ || clock_.steady_now() - *data_key_at_ >= options_.data_key_interval;
  if (due && silent("generate_data_key", generate())) return error;
  const bool fresh = due && data_key_at_ && !failed_before("decrypt");
  if (sentinel_ && !fresh && silent("decrypt", decrypt())) return error;
  // Nothing that the service needs every day: what it shows is for doctor alone.
  if (due || failed_before("encrypt")) (void)encrypt();
  return error;
}

BackgroundProbe::Outcome BackgroundProbe::run() {
  key_.reset();
  Outcome outcome{.error = try_calls(), .report = {.provider = std::string(provider_.name())}};
  for (const auto& [operation, tried] : calls_) outcome.report.calls.push_back(tried);
  outcome.report.key = key_;
  if (sentinel_) outcome.report.wraps_under = sentinel_->master_key_id;
  return outcome;
}

}  // namespace betrace::kms
