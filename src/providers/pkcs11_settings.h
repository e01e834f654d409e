// What the pkcs11 provider is told: which module, token and key; checked once at start, and the
// module is loaded then. Thread-safe: nothing changes it.
#pragma once

#include <memory>
#include <string>

#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

#include "providers/catalog.h"
#include "providers/pkcs11_module.h"

namespace betrace::kms {

struct Pkcs11Settings {
  std::string path;  // of the module
  std::shared_ptr<Pkcs11Module> module;
  std::string token, key;  // labels
  std::string serial;      // of the token; empty: the label says which
  SecretBytes pin;

  // RFC 7512: "pkcs11:token=betrace;object=betrace-master-key". Without the serial: a token that
  // was restored on another device is the same.
  std::string uri() const;
};

// Errors: invalid_argument names the key, the value unless it is secret, and what is accepted.
Result<Pkcs11Settings> read_pkcs11_settings(const ProviderEnvironment& environment);

}  // namespace betrace::kms
