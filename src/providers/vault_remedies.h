// What to do about Vault or OpenBao: the commands of its CLI with the real mount, key and address
// in them. `vault` takes the place of `bao` word for word. Immutable, thus thread-safe.
#pragma once

#include <string>

#include "betrace/kms/remedies.h"

#include "providers/vault_settings.h"

namespace betrace::kms {

class VaultRemedies final : public Remedies {
 public:
  // `settings` must outlive this.
  explicit VaultRemedies(const VaultSettings& settings) : settings_(settings) {}

  Advice advise(const Trouble& trouble) const override;
  std::string permission(std::string_view operation) const override;
  std::string configured_key() const override { return settings_.key; }

 private:
  std::string path(std::string_view operation) const;
  std::string place() const;  // "BAO_ADDR=… BAO_NAMESPACE=… "
  Advice of_denial(const Trouble& trouble) const;

  const VaultSettings& settings_;
};

}  // namespace betrace::kms
