// A provider in memory whose failures are scripted: the wrapped form is sealed under a key of its
// own with the context as additional data, so that contexts bind as a real one's do. Thread-safe.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <mutex>
#include <string>

#include "betrace/kms/provider.h"

namespace betrace::kms {

class FakeProvider final : public Provider {
 public:
  explicit FakeProvider(std::string name = "fake", bool remote = true,
                        std::string master_key_id = "fake-master-key")
      : name_(std::move(name)), remote_(remote), master_key_id_(std::move(master_key_id)) {}

  std::string_view name() const override { return name_; }
  std::string description() const override { return "a fake"; }
  bool remote() const override { return remote_; }
  const Remedies* remedies() const override { return remedies_; }
  Result<DataKey> generate_data_key(const CallContext& call,
                                    const EncryptionContext& context) override;
  Result<Wrapping> encrypt(const CallContext& call, std::span<const std::uint8_t> plaintext,
                           const EncryptionContext& context) override;
  Result<SecretBytes> decrypt(const CallContext& call, const Wrapping& wrapping,
                              const EncryptionContext& context) override;
  Result<MasterKeyInfo> describe_key(const CallContext& call) override;

  // The next calls fail so, one each.
  void fail_next(ErrorCode code, int times = 1);
  void fail_next(Error error, int times = 1);
  // Every call fails until recover().
  void fail_always(ErrorCode code);
  void recover();
  void advised_by(const Remedies* remedies) { remedies_ = remedies; }
  // Called in each call before it answers, e.g. to hold it up or to move a clock.
  void on_call(std::function<void(const CallContext&)> hook);

  int calls() const { return generated_ + encrypted_ + decrypted_ + described_; }
  int generated() const { return generated_; }
  int decrypted() const { return decrypted_; }

 private:
  std::optional<Error> begin(const CallContext& call, std::atomic<int>& counter);

  const std::string name_;
  const bool remote_;
  const std::string master_key_id_;
  const SecretBytes master_ = SecretBytes::random(32);
  std::mutex mutex_;
  std::deque<Error> failures_;
  std::optional<Error> always_;
  std::function<void(const CallContext&)> hook_;
  const Remedies* remedies_ = nullptr;
  std::atomic<int> generated_{0}, encrypted_{0}, decrypted_{0}, described_{0};
};

}  // namespace betrace::kms
