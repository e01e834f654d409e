#include "providers/azure_remedies.h"

#include <fmt/format.h>

namespace betrace::kms {

std::string AzureRemedies::permission(std::string_view operation) const {
  if (operation == "decrypt") return "Microsoft.KeyVault/vaults/keys/unwrap/action";
  if (operation == "describe_key") return "Microsoft.KeyVault/vaults/keys/read";
  return "Microsoft.KeyVault/vaults/keys/wrap/action";
}

std::string AzureRemedies::key(std::string_view command) const {
  return fmt::format("az keyvault key {} --id {}", command, settings_.master_key_id());
}

Advice AzureRemedies::of_denial(const Trouble& trouble) const {
  const Error error = trouble.error != nullptr ? *trouble.error : Error{};
  if (error.type == "ForbiddenByFirewall") {
    return {.cause = "The vault's firewall does not admit this machine",
            .commands = {"az keyvault network-rule list --name \"$VAULT\""}};
  }
  if (error.type.empty() || error.type == "Unauthorized") {
    return {.cause = "Azure does not know who asks: the credentials are missing, wrong or expired",
            .commands = {"az account get-access-token --resource https://vault.azure.net "
                         "--query expiresOn",
                         "az ad sp show --id \"$AZURE_CLIENT_ID\""}};
  }
  return {.cause = "The identity of this service lacks a role on the key",
          .commands = {"az role assignment create --role 'Key Vault Crypto Service Encryption "
                       "User' --assignee \"$PRINCIPAL_ID\" --scope \"$VAULT_ID/keys/" +
                           settings_.key + "\"",
                       key("show")}};
}

Advice AzureRemedies::advise(const Trouble& trouble) const {
  switch (trouble.kind) {
    case TroubleKind::access_denied:
      return of_denial(trouble);
    case TroubleKind::key_disabled:
      if (trouble.error != nullptr && trouble.error->type == "KeyNotFound") {
        return {.cause = "There is no such key in this vault",
                .commands = {key("show"), "az keyvault key list --id " + settings_.uri}};
      }
      return {.commands = {key("show"), key("set-attributes") + " --enabled true"}};
    case TroubleKind::key_pending_deletion:
      return {.commands = {fmt::format("az keyvault key recover --id {}/deletedkeys/{}",
                                       settings_.uri, settings_.key),
                           key("show")}};
    case TroubleKind::unreachable:
      return {
          .commands = {fmt::format("curl -v --max-time 5 {}/keys", settings_.uri), key("show")}};
    case TroubleKind::slow:
    case TroubleKind::context_mismatch:
      return {.commands = {key("show")}};
    case TroubleKind::not_for_production:
      return {};
  }
  return {};
}

}  // namespace betrace::kms
