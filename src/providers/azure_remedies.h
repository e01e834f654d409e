// What to do about Azure Key Vault: the Azure CLI's commands with the real vault and key in them.
// Immutable, thus thread-safe.
#pragma once

#include <string>

#include "betrace/kms/remedies.h"

#include "providers/azure_settings.h"

namespace betrace::kms {

class AzureRemedies final : public Remedies {
 public:
  // `settings` must outlive this.
  explicit AzureRemedies(const AzureSettings& settings) : settings_(settings) {}

  Advice advise(const Trouble& trouble) const override;
  std::string permission(std::string_view operation) const override;
  std::string configured_key() const override { return settings_.key; }
  // azure.microsoft.com/pricing/details/key-vault: RSA 2048 in software.
  std::optional<ProviderPrices> prices() const override {
    return ProviderPrices{.ten_thousand_calls = 0.03, .key_month = 0};
  }

 private:
  bool is_hsm() const;
  std::string vault() const;  // its name: the first part of its host
  std::string key(std::string_view command) const;
  std::string grant(const Error& error) const;
  Advice of_denial(const Trouble& trouble) const;
  Advice of_unusable_key(const Trouble& trouble) const;

  const AzureSettings& settings_;
};

}  // namespace betrace::kms
