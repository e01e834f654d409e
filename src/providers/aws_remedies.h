// What to do about AWS KMS: the AWS CLI's commands with the real key, region, role and endpoint in
// them. Immutable, thus thread-safe.
#pragma once

#include <string>

#include "betrace/kms/remedies.h"

#include "providers/aws_settings.h"

namespace betrace::kms {

class AwsRemedies final : public Remedies {
 public:
  explicit AwsRemedies(AwsSettings settings) : settings_(std::move(settings)) {}

  Advice advise(const Trouble& trouble) const override;
  std::string permission(std::string_view operation) const override;
  std::string configured_key() const override { return settings_.key_id; }
  std::vector<Doubt> doubts() const override;
  // aws.amazon.com/kms/pricing: symmetric requests, and a key a month.
  std::optional<ProviderPrices> prices() const override {
    return ProviderPrices{.ten_thousand_calls = 0.03, .key_month = 1};
  }

 private:
  Advice of_denial(const Trouble& trouble) const;
  Advice of_disabled_key(const Trouble& trouble) const;
  Advice of_silence(const Trouble& trouble) const;
  Advice of_slowness() const;
  std::string kms(std::string_view command, std::string_view key) const;
  std::string place() const;  // "--region … --endpoint-url …"
  std::string key_of(const Trouble& trouble) const;

  const AwsSettings settings_;
};

}  // namespace betrace::kms
