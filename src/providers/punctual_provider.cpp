#include "providers/punctual_provider.h"

#include <exception>
#include <optional>

#include <fmt/format.h>

namespace betrace::kms {
namespace {

// One allocation for all of a call: what it needs, what it answers.
template <class T, class Work>
class Asked final : public PunctualThreads::Call {
 public:
  explicit Asked(Work work) : work_(std::move(work)) {}
  void run() noexcept override {
    try {
      answer_.emplace(work_());
    } catch (...) {
      thrown_ = std::current_exception();
    }
  }
  Result<T> answer() {
    if (thrown_) std::rethrow_exception(thrown_);
    return *std::move(answer_);
  }

 private:
  Work work_;
  std::optional<Result<T>> answer_;
  std::exception_ptr thrown_;
};

}  // namespace

PunctualProvider::PunctualProvider(std::shared_ptr<Provider> inner, std::size_t calls_max)
    : inner_(std::move(inner)),
      calls_max_(calls_max),
      threads_(fmt::format("kms-{}", inner_->name()).substr(0, 12), calls_max) {}

PunctualProvider::~PunctualProvider() = default;

std::unexpected<Error> PunctualProvider::late() const {
  return fail(ErrorCode::kms_timeout,
              fmt::format("the provider '{}' did not answer in time; {} of {} calls to it have not "
                          "ended",
                          inner_->name(), threads_.running(), calls_max_));
}

template <class T, class Work>
Result<T> PunctualProvider::punctually(const CallContext& call, Work work) {
  const auto asked = std::make_shared<Asked<T, Work>>(std::move(work));
  if (!threads_.run(asked, call.deadline)) return late();
  return asked->answer();
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
