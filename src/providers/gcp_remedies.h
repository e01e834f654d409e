// What to do about Google Cloud KMS: gcloud's commands with the real project, key ring and key in
// them. Immutable, thus thread-safe.
#pragma once

#include <string>

#include "betrace/kms/remedies.h"

#include "providers/gcp_settings.h"

namespace betrace::kms {

class GcpRemedies final : public Remedies {
 public:
  // `settings` must outlive this.
  explicit GcpRemedies(const GcpSettings& settings) : settings_(settings) {}

  Advice advise(const Trouble& trouble) const override;
  std::string permission(std::string_view operation) const override;
  std::string configured_key() const override { return settings_.key; }
  // cloud.google.com/kms/pricing: software keys; a version a month.
  std::optional<ProviderPrices> prices() const override {
    return ProviderPrices{.ten_thousand_calls = 0.03, .key_month = 0.06};
  }

 private:
  std::string place() const;  // "--project … --location … --keyring …"
  Advice of_denial(const Trouble& trouble) const;

  const GcpSettings& settings_;
};

}  // namespace betrace::kms
