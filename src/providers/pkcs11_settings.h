// What the pkcs11 provider is told: which module, token and key; checked once at start.
// Thread-safe: plain values.
#pragma once

#include <string>

#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

#include "providers/catalog.h"

namespace betrace::kms {

struct Pkcs11Settings {
  std::string module;  // path
  std::string init_args;
  std::string token, key;  // labels
  SecretBytes pin;

  // RFC 7512: "pkcs11:token=betrace;object=betrace-master-key".
  std::string uri() const;
};

// Errors: invalid_argument names the key, the value unless it is secret, and what is accepted.
Result<Pkcs11Settings> read_pkcs11_settings(const ProviderEnvironment& environment);

}  // namespace betrace::kms
