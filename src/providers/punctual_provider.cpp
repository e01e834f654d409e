#include "providers/punctual_provider.h"

#include <condition_variable>
#include <future>
#include <mutex>

#include <fmt/format.h>

namespace betrace::kms {

// Outlives the provider where a call does.
struct PunctualProvider::Calls {
  std::mutex mutex;
  std::condition_variable ended;
  std::size_t running = 0;

  bool begin(std::size_t most, std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex);
    if (!ended.wait_until(lock, deadline, [&] { return running < most; })) return false;
    ++running;
    return true;
  }
  void end() {
    const std::lock_guard lock(mutex);
    --running;
    ended.notify_all();
  }
};

PunctualProvider::PunctualProvider(std::shared_ptr<Provider> inner, std::size_t calls_max)
    : inner_(std::move(inner)),
      calls_max_(calls_max),
      calls_(std::make_shared<Calls>()),
      threads_(std::make_unique<ThreadPool>(
          ThreadPool::Options{.name = fmt::format("kms-{}", inner_->name()).substr(0, 12),
                              .threads = calls_max,
                              .queue_max = calls_max})) {}

PunctualProvider::~PunctualProvider() {
  std::unique_lock lock(calls_->mutex);
  const bool all_ended =
      calls_->ended.wait_for(lock, std::chrono::seconds(1), [&] { return calls_->running == 0; });
  lock.unlock();
  if (!all_ended) (void)threads_.release();
}

std::unexpected<Error> PunctualProvider::late() const {
  const std::lock_guard lock(calls_->mutex);
  return fail(ErrorCode::kms_timeout,
              fmt::format("the provider '{}' did not answer in time; {} of {} calls to it have not "
                          "ended",
                          inner_->name(), calls_->running, calls_max_));
}

template <class T, class Work>
Result<T> PunctualProvider::punctually(const CallContext& call, Work work) {
  if (!calls_->begin(calls_max_, call.deadline)) return late();
  auto promise = std::make_shared<std::promise<Result<T>>>();
  auto answer = promise->get_future();
  const bool posted = threads_->post(
      [promise = std::move(promise), calls = calls_, work = std::move(work)]() mutable {
        try {
          promise->set_value(work());
        } catch (...) {
          promise->set_exception(std::current_exception());
        }
        calls->end();
      });
  if (!posted) {
    calls_->end();
    return fail(ErrorCode::overloaded, "too much work is waiting; try again in a moment");
  }
  if (answer.wait_until(call.deadline) != std::future_status::ready) return late();
  return answer.get();
}

Result<DataKey> PunctualProvider::generate_data_key(const CallContext& call,
                                                    const EncryptionContext& context) {
  return punctually<DataKey>(
      call, [inner = inner_, call, context] { return inner->generate_data_key(call, context); });
}

Result<Wrapping> PunctualProvider::encrypt(const CallContext& call,
                                           std::span<const std::uint8_t> plaintext,
                                           const EncryptionContext& context) {
  return punctually<Wrapping>(
      call, [inner = inner_, call, context, copy = WipedBytes(plaintext.begin(), plaintext.end())] {
        return inner->encrypt(call, copy, context);
      });
}

Result<SecretBytes> PunctualProvider::decrypt(const CallContext& call, const Wrapping& wrapping,
                                              const EncryptionContext& context) {
  return punctually<SecretBytes>(call, [inner = inner_, call, wrapping, context] {
    return inner->decrypt(call, wrapping, context);
  });
}

Result<MasterKeyInfo> PunctualProvider::describe_key(const CallContext& call) {
  return punctually<MasterKeyInfo>(call,
                                   [inner = inner_, call] { return inner->describe_key(call); });
}

}  // namespace betrace::kms
