// A provider whose calls are answered at their deadline though those of the one inside cannot be
// cancelled: code of others that waits for a device or a network. They run on threads of its own; a
// call that hangs keeps its thread until it ends, and nobody waits for it. Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "betrace/kms/provider.h"

#include "providers/punctual_threads.h"

namespace betrace::kms {

class PunctualProvider final : public Provider {
 public:
  // `calls_max`: threads, thus calls at a time; those beyond wait for one until their deadline.
  PunctualProvider(std::shared_ptr<Provider> inner, std::size_t calls_max);
  // Calls that have not ended after a second are left behind with what they use.
  ~PunctualProvider() override;

  std::string_view name() const override { return inner_->name(); }
  std::string description() const override { return inner_->description(); }
  const Remedies* remedies() const override { return inner_->remedies(); }
  // As the one inside; kms_timeout at the deadline of `call`.
  Result<DataKey> generate_data_key(const CallContext& call,
                                    const EncryptionContext& context) override;
  Result<Wrapping> encrypt(const CallContext& call, std::span<const std::uint8_t> plaintext,
                           const EncryptionContext& context) override;
  Result<SecretBytes> decrypt(const CallContext& call, const Wrapping& wrapping,
                              const EncryptionContext& context) override;
  Result<MasterKeyInfo> describe_key(const CallContext& call) override;

 private:
  template <class T, class Work>
  Result<T> punctually(const CallContext& call, Work work);
  std::unexpected<Error> late() const;

  const std::shared_ptr<Provider> inner_;
  const std::size_t calls_max_;
  PunctualThreads threads_;
};

}  // namespace betrace::kms
