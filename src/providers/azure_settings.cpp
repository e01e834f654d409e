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

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return text;
}

// Tokens and keys go to https, or nowhere else than this machine.
Result<std::string> secure_url(std::string_view key, std::string text) {
  auto url = TRY(checked_url(key, std::move(text)));
  if (!shows_secrets(url)) return url;
  return fail(ErrorCode::invalid_argument, fmt::format("{}='{}': accepted is https://", key, url));
}

// As the vault names itself in its keys' identifiers: small letters, and no port that is the usual.
std::string vault_name(std::string url) {
  url = lower_case(std::move(url));
  if (url.starts_with("https://") && url.ends_with(":443")) url.resize(url.size() - 4);
  return url;
}

// learn.microsoft.com/entra/identity-platform/authentication-national-cloud
std::string authority_of(std::string_view vault) {
  const auto host = host_of(vault);
  if (host.ends_with(".usgovcloudapi.net")) return "https://login.microsoftonline.us";
  if (host.ends_with(".azure.cn")) return "https://login.partner.microsoftonline.cn";
  return "https://login.microsoftonline.com";
}

// The first of secret, certificate and federated token that is set; the variables only where none
// of the settings is, so that a further instance can have another log-in than its process.
void find_principal(const ProviderEnvironment& environment, AzureSettings& out) {
  const auto look = [&](const auto& get) {
    if (auto secret = get("azure.keyvault.client-secret", "AZURE_CLIENT_SECRET"); !secret.empty()) {
      out.client_secret = wiped(std::move(secret));
      out.login = AzureLogin::secret;
    } else if (auto certificate =
                   get("azure.keyvault.client-certificate-file", "AZURE_CLIENT_CERTIFICATE_PATH");
               !certificate.empty()) {
      out.certificate_file = std::move(certificate);
      out.login = AzureLogin::certificate;
    } else if (auto token =
                   get("azure.keyvault.federated-token-file", "AZURE_FEDERATED_TOKEN_FILE");
               !token.empty()) {
      out.federated_token_file = std::move(token);
      out.login = AzureLogin::workload;
    } else {
      return false;
    }
    return true;
  };
  const bool found = look(
      [&](std::string_view key, const char*) { return environment.settings(key).value_or(""); });
  if (!found) {
    look([&](std::string_view, const char* name) { return variable(environment, name); });
  }
}

// App Service sets both variables; other hosts, Azure Arc among them, the first one alone.
Status find_identity(const ProviderEnvironment& environment, AzureSettings& out) {
  auto endpoint = variable(environment, "IDENTITY_ENDPOINT");
  auto header = wiped(variable(environment, "IDENTITY_HEADER"));
  if (!endpoint.empty() && !header.empty()) {
    out.login = AzureLogin::app_service;
    out.identity_endpoint = TRY(checked_url("IDENTITY_ENDPOINT", std::move(endpoint)));
    out.identity_header = std::move(header);
    return {};
  }
  auto host = variable(environment, "AZURE_POD_IDENTITY_AUTHORITY_HOST");
  if (host.empty()) host = "http://169.254.169.254";
  out.identity_endpoint = TRY(checked_url("AZURE_POD_IDENTITY_AUTHORITY_HOST", std::move(host)));
  return {};
}

Status read_login(const ProviderEnvironment& environment, AzureSettings& out) {
  out.tenant = setting(environment, "azure.keyvault.tenant-id", "AZURE_TENANT_ID");
  out.client_id = setting(environment, "azure.keyvault.client-id", "AZURE_CLIENT_ID");
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.';
  };
  if (!std::ranges::all_of(out.tenant, fits)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("azure.keyvault.tenant-id='{}': accepted is the id of an Entra tenant, "
                            "or a domain of it",
                            out.tenant));
  }
  auto authority = variable(environment, "AZURE_AUTHORITY_HOST");
  if (authority.empty()) authority = authority_of(out.uri);
  if (!authority.contains("://")) authority.insert(0, "https://");
  out.authority = TRY(secure_url("AZURE_AUTHORITY_HOST", std::move(authority)));

  find_principal(environment, out);
  TRY(readable_file("azure.keyvault.client-certificate-file", out.certificate_file,
                    "a PEM file with the certificate and its key"));
  if (out.login == AzureLogin::managed_identity) return find_identity(environment, out);
  if (!out.client_id.empty()) return {};
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
  out.uri = vault_name(TRY(secure_url("azure.keyvault.uri", *uri)));
  if (out.uri.find('/', out.uri.find("://") + 3) != std::string::npos) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("azure.keyvault.uri='{}': accepted is the address of a vault alone, "
                            "e.g. https://NAME.vault.azure.net; the key goes into "
                            "azure.keyvault.key-name",
                            *uri));
  }
  // Identifiers are told apart without regard to case, and here by bytes.
  const auto key = environment.settings("azure.keyvault.key-name").value_or("betrace-master-key");
  out.key = lower_case(key);
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  };
  if (out.key.empty() || out.key.size() > 127 || !std::ranges::all_of(out.key, fits)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("azure.keyvault.key-name='{}': accepted are 1 to 127 letters, digits "
                            "and -",
                            key));
  }
  constexpr std::string_view ca = "azure.keyvault.ca-file";
  out.ca_file = TRY(readable_file(ca, environment.settings(ca).value_or(""), "a PEM file"));
  TRY(read_login(environment, out));
  return out;
}

}  // namespace betrace::kms
