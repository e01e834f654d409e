#include "core/provider_calls.h"

#include <algorithm>
#include <functional>
#include <thread>
#include <vector>

#include "base/crypto.h"

namespace betrace::kms {
namespace {

struct Task {
  ProbedCall call;
  std::function<Status()> run;
};

void time_call(const Clock& clock, Task& task) {
  const auto begun = clock.steady_now();
  auto status = task.run();
  const auto took =
      std::chrono::duration_cast<std::chrono::microseconds>(clock.steady_now() - begun);
  auto& call = task.call;
  call.latency = call.tries == 0 ? took : std::min(call.latency, took);
  ++call.tries;
  call.error = status ? std::nullopt : std::optional(std::move(status).error());
}

bool is_slow(const Task& task) { return !task.call.error && task.call.latency > slow_call_limit; }

constexpr int tries_max = 5;

// Side by side; those that were slow again, one after the other, so that they cannot slow each
// other down.
void run_all(const Clock& clock, std::vector<Task>& tasks) {
  {
    std::vector<std::jthread> threads;
    for (auto& task : tasks) threads.emplace_back([&clock, &task] { time_call(clock, task); });
  }
  for (auto& task : tasks) {
    while (is_slow(task) && task.call.tries < tries_max) time_call(clock, task);
  }
}

bool is_refusal(const Error& error) {
  switch (error.code) {
    case ErrorCode::kms_access_denied:
    case ErrorCode::kms_key_disabled:
    case ErrorCode::kms_unavailable:
    case ErrorCode::kms_timeout:
      return true;
    default:
      return false;
  }
}

}  // namespace

ProviderCalls::ProviderCalls(Provider& provider, const Clock& clock, const CallContext& call,
                             std::chrono::milliseconds call_timeout, EncryptionContext context)
    : provider_(provider),
      clock_(clock),
      call_(call),
      call_timeout_(call_timeout),
      context_(std::move(context)) {}

CallContext ProviderCalls::attempt() const {
  CallContext each = call_;
  each.deadline = std::min(call_.deadline, clock_.steady_now() + call_timeout_);
  return each;
}

Status ProviderCalls::generate() {
  auto made = provider_.generate_data_key(attempt(), context_);
  if (!made) return std::unexpected(std::move(made).error());
  if (made->plaintext.size() != 32) {
    return fail(ErrorCode::kms_unavailable, "the data key is not 32 bytes");
  }
  data_key_ = *std::move(made);
  return {};
}

Status ProviderCalls::encrypt() {
  auto made = provider_.encrypt(attempt(), secret_.expose(), context_);
  if (!made) return std::unexpected(std::move(made).error());
  wrapped_ = *std::move(made);
  return {};
}

Status ProviderCalls::open() {
  if (!has_something_to_open()) {
    return fail(ErrorCode::kms_unavailable,
                "nothing to decrypt, because generate_data_key and encrypt failed");
  }
  const auto& wrapping = data_key_ ? data_key_->wrapped : *wrapped_;
  const auto& expected = data_key_ ? data_key_->plaintext : secret_;
  const auto opened = provider_.decrypt(attempt(), wrapping, context_);
  if (!opened) return std::unexpected(opened.error());
  if (!(*opened == expected)) {
    return fail(ErrorCode::corrupt, "what was decrypted is not what was encrypted");
  }
  return {};
}

Status ProviderCalls::try_to_open(const std::string& master_key) {
  Wrapping nothing{.provider = std::string(provider_.name()), .master_key_id = master_key};
  nothing.blob.resize(32);
  random_bytes(nothing.blob);
  const auto opened = provider_.decrypt(attempt(), nothing, context_);
  if (opened || !is_refusal(opened.error())) return {};
  return std::unexpected(opened.error());
}

Status ProviderCalls::describe() {
  auto described = provider_.describe_key(attempt());
  if (!described) return std::unexpected(std::move(described).error());
  key_ = *std::move(described);
  return {};
}

ProbeReport examine_provider(Provider& provider, const Clock& clock,
                             std::chrono::milliseconds call_timeout) {
  const auto call = CallContext::system("doctor");
  ProviderCalls calls(provider, clock, call, call_timeout,
                      {{"keyType", "signing"}, {"tenantId", "@doctor"}});
  const auto task = [](const char* operation, std::function<Status()> run) {
    return Task{.call = {.operation = operation, .error = {}, .tries = 0}, .run = std::move(run)};
  };
  std::vector<Task> tasks;
  tasks.push_back(task("generate_data_key", [&] { return calls.generate(); }));
  tasks.push_back(task("encrypt", [&] { return calls.encrypt(); }));
  tasks.push_back(task("describe_key", [&] { return calls.describe(); }));
  run_all(clock, tasks);

  std::vector<Task> opening;
  const auto* remedies = provider.remedies();
  const auto master_key = calls.key() ? calls.key()->key_id
                          : remedies  ? remedies->configured_key()
                                      : std::string();
  if (calls.has_something_to_open()) {
    opening.push_back(task("decrypt", [&] { return calls.open(); }));
  } else if (!master_key.empty()) {
    opening.push_back(task("decrypt", [&] { return calls.try_to_open(master_key); }));
  }
  run_all(clock, opening);

  ProbeReport report{.provider = std::string(provider.name()),
                     .calls = {},
                     .key = calls.key(),
                     .wraps_under = calls.wraps_under()};
  for (auto* list : {&tasks, &opening}) {
    for (auto& each : *list) report.calls.push_back(std::move(each.call));
  }
  return report;
}

}  // namespace betrace::kms
