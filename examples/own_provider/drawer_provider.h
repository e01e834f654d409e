// A provider of one's own: the simplest that keeps every promise of provider.h. It "wraps" a key by
// putting it into a drawer in memory and answering the drawer's number, so its keys end with the
// process: an example of the interface, not a place for keys. Thread-safe.
#pragma once

#include <mutex>

#include <betrace/kms/provider.h>

class DrawerProvider final : public betrace::kms::Provider {
 public:
  explicit DrawerProvider(std::string label) : label_(std::move(label)) {}

  std::string_view name() const override { return "drawer"; }
  std::string description() const override { return "a drawer in memory - label: " + label_; }
  bool remote() const override { return false; }

  betrace::kms::Result<betrace::kms::DataKey> generate_data_key(
      const betrace::kms::CallContext& call,
      const betrace::kms::EncryptionContext& context) override;
  betrace::kms::Result<betrace::kms::Wrapping> encrypt(
      const betrace::kms::CallContext& call, std::span<const std::uint8_t> plaintext,
      const betrace::kms::EncryptionContext& context) override;
  betrace::kms::Result<betrace::kms::SecretBytes> decrypt(
      const betrace::kms::CallContext& call, const betrace::kms::Wrapping& wrapping,
      const betrace::kms::EncryptionContext& context) override;
  betrace::kms::Result<betrace::kms::MasterKeyInfo> describe_key(
      const betrace::kms::CallContext& call) override;

 private:
  struct Entry {
    betrace::kms::SecretBytes key;
    betrace::kms::EncryptionContext context;
  };
  const std::string label_;
  std::mutex mutex_;
  std::map<std::string, Entry> drawer_;  // by the blob that was answered
};
