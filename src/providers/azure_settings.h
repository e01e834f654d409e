// What the azure provider is told: which vault and key, and whose credentials; checked once at
// start. Thread-safe: plain values.
#pragma once

#include <string>

#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

#include "providers/catalog.h"

namespace betrace::kms {

// In the order of Azure's DefaultAzureCredential.
enum class AzureLogin { secret, certificate, workload, app_service, managed_identity };

struct AzureSettings {
  std::string uri;      // https://NAME.vault.azure.net, in small letters, no slash at the end
  std::string key;      // in small letters as well: to Key Vault they are the same
  std::string ca_file;  // empty: the system's

  AzureLogin login = AzureLogin::managed_identity;
  std::string tenant;     // empty: as the vault's challenge says
  std::string client_id;  // of a service principal, or of one of several managed identities
  WipedString client_secret;
  std::string certificate_file;      // PEM: certificate and key
  std::string federated_token_file;  // that Kubernetes writes
  std::string authority;             // of the vault's cloud: https://login.microsoftonline.com
  std::string identity_endpoint;     // of App Service, or of the instance's metadata service
  WipedString identity_header;       // of App Service

  // What wrappings record: the key's identifier without a version.
  std::string master_key_id() const;
};

// Settings win over the variables of Azure's SDKs, and a log-in that settings name over one that
// variables do. Errors: invalid_argument names the key, the
// value unless it is secret, and what is accepted.
Result<AzureSettings> read_azure_settings(const ProviderEnvironment& environment);

}  // namespace betrace::kms
