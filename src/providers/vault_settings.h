// What the vault provider is told: which server, which key, and how to log in; checked once at
// start. Thread-safe: plain values.
#pragma once

#include <string>
#include <vector>

#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

#include "providers/catalog.h"

namespace betrace::kms {

enum class VaultLogin { token, approle, kubernetes, certificate };

struct VaultSettings {
  std::string address;                // without a slash at the end
  std::string mount, key;             // of the transit engine
  std::string name_space;             // empty: the root
  std::string cluster;                // tells keys of one name on two servers apart; may be empty
  std::string ca_file;                // empty: the system's
  std::string certificate, cert_key;  // PEM files of a client certificate; empty: none

  VaultLogin login = VaultLogin::token;
  std::string auth_mount;  // where the method is mounted, e.g. "approle"
  WipedString token;       // one of these two
  std::string token_file;
  std::string role;       // role id, Kubernetes role or certificate role
  WipedString secret_id;  // one of these two, or neither
  std::string secret_id_file;
  std::string jwt_file;  // Kubernetes

  std::vector<std::string> warnings;  // sentences for the log

  // What wrappings record: "transit/betrace-master-key", in a namespace "team/transit/…", with
  // vault.cluster "CLUSTER:transit/…".
  std::string master_key_id() const;
};

// Errors: invalid_argument names the key, the value unless it is secret, and what is accepted.
Result<VaultSettings> read_vault_settings(const ProviderEnvironment& environment);

}  // namespace betrace::kms
