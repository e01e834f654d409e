#include "providers/azure_settings.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/try.h"
#include "providers/addresses.h"

namespace betrace::kms {
namespace {

std::string variable(const ProviderEnvironment& environment, const char* name) {
  return environment.environment ? environment.environment(name).value_or("") : std::string();
}

std::string setting(const ProviderEnvironment& environment, std::string_view key,
                    const char* name) {
  if (auto value = environment.settings(key)) return *std::move(value);
  return variable(environment, name);
}

WipedString wiped(std::string text) {
  WipedString secret(text);
  wipe(text.data(), text.size());
  return secret;
}

// Tokens and keys go to https, or nowhere else than this machine.
Result<std::string> secure_url(std::string_view key, std::string text) {
  auto url = TRY(checked_url(key, std::move(text)));
  if (!shows_secrets(url)) return url;
  return fail(ErrorCode::invalid_argument, fmt::format("{}='{}': accepted is https://", key, url));
}

Status read_login(const ProviderEnvironment& environment, AzureSettings& out) {
  out.tenant = setting(environment, "azure.keyvault.tenant-id", "AZURE_TENANT_ID");
  out.client_id = setting(environment, "azure.keyvault.client-id", "AZURE_CLIENT_ID");
  out.client_secret =
      wiped(setting(environment, "azure.keyvault.client-secret", "AZURE_CLIENT_SECRET"));
  out.certificate_file = setting(environment, "azure.keyvault.client-certificate-file",
                                 "AZURE_CLIENT_CERTIFICATE_PATH");
  out.federated_token_file =
      setting(environment, "azure.keyvault.federated-token-file", "AZURE_FEDERATED_TOKEN_FILE");
  auto authority = variable(environment, "AZURE_AUTHORITY_HOST");
  if (authority.empty()) authority = "https://login.microsoftonline.com";
  out.authority = TRY(secure_url("AZURE_AUTHORITY_HOST", std::move(authority)));

  if (!out.client_secret.empty()) {
    out.login = AzureLogin::secret;
  } else if (!out.certificate_file.empty()) {
    out.login = AzureLogin::certificate;
  } else if (!out.federated_token_file.empty()) {
    out.login = AzureLogin::workload;
  } else if (auto endpoint = variable(environment, "IDENTITY_ENDPOINT"); !endpoint.empty()) {
    out.login = AzureLogin::app_service;
    out.identity_endpoint = TRY(checked_url("IDENTITY_ENDPOINT", std::move(endpoint)));
    out.identity_header = wiped(variable(environment, "IDENTITY_HEADER"));
  } else {
    auto host = variable(environment, "AZURE_POD_IDENTITY_AUTHORITY_HOST");
    if (host.empty()) host = "http://169.254.169.254";
    out.identity_endpoint = TRY(checked_url("AZURE_POD_IDENTITY_AUTHORITY_HOST", std::move(host)));
  }
  const bool principal = out.login == AzureLogin::secret || out.login == AzureLogin::certificate ||
                         out.login == AzureLogin::workload;
  if (!principal || !out.client_id.empty()) return {};
  return fail(ErrorCode::invalid_argument,
              "azure.keyvault.client-id is not set, and a service principal needs it: accepted is "
              "its application id");
}

}  // namespace

std::string AzureSettings::master_key_id() const { return fmt::format("{}/keys/{}", uri, key); }

Result<AzureSettings> read_azure_settings(const ProviderEnvironment& environment) {
  const auto uri = environment.settings("azure.keyvault.uri");
  if (!uri) {
    return fail(ErrorCode::invalid_argument,
                "azure.keyvault.uri is not set, and the azure provider needs it: accepted is "
                "https://NAME.vault.azure.net or https://NAME.managedhsm.azure.net");
  }
  AzureSettings out;
  out.uri = TRY(secure_url("azure.keyvault.uri", *uri));
  out.key = environment.settings("azure.keyvault.key-name").value_or("betrace-master-key");
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  };
  if (out.key.size() > 127 || !std::ranges::all_of(out.key, fits)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("azure.keyvault.key-name='{}': accepted are 1 to 127 letters, digits "
                            "and -",
                            out.key));
  }
  out.ca_file = environment.settings("azure.keyvault.ca-file").value_or("");
  TRY(read_login(environment, out));
  return out;
}

}  // namespace betrace::kms
