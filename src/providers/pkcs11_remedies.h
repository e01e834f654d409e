// What to do about an HSM: pkcs11-tool's commands with the real module and labels in them.
// Immutable, thus thread-safe.
#pragma once

#include <string>

#include "betrace/kms/remedies.h"

#include "providers/pkcs11_settings.h"

namespace betrace::kms {

class Pkcs11Remedies final : public Remedies {
 public:
  // `settings` must outlive this.
  explicit Pkcs11Remedies(const Pkcs11Settings& settings) : settings_(settings) {}

  Advice advise(const Trouble& trouble) const override;
  std::string permission(std::string_view operation) const override;
  std::string configured_key() const override { return settings_.key; }

 private:
  Advice of_key(const Error* error) const;
  Advice of_denial(const Error* error) const;
  std::string tool(std::string_view what) const;
  std::string logged_in(std::string_view what) const;
  static std::string quoted(std::string_view text);

  const Pkcs11Settings& settings_;
};

}  // namespace betrace::kms
