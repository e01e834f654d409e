#include "providers/azure_remedies.h"

#include <algorithm>

#include <fmt/format.h>

#include "providers/addresses.h"

namespace betrace::kms {

namespace {

// What stands between `before` and the next of `ends`; empty when there is none, or when it is not
// what a shell takes for one plain word: it is a server's, and people paste it.
std::string word_after(std::string_view text, std::string_view before, std::string_view ends) {
  const auto at = text.find(before);
  if (at == std::string_view::npos) return {};
  text.remove_prefix(at + before.size());
  const auto word = text.substr(0, text.find_first_of(ends));
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("/._-").contains(c);
  };
  return std::ranges::all_of(word, plain) ? std::string(word) : std::string();
}

}  // namespace

std::string AzureRemedies::permission(std::string_view operation) const {
  const auto where = is_hsm() ? "Microsoft.KeyVault/managedHsm" : "Microsoft.KeyVault/vaults";
  if (operation == "decrypt") return fmt::format("{}/keys/unwrap/action", where);
  if (operation == "describe_key") {
    return fmt::format("{}/keys/read{}", where, is_hsm() ? "/action" : "");
  }
  return fmt::format("{}/keys/wrap/action", where);
}

bool AzureRemedies::is_hsm() const { return host_of(settings_.uri).contains(".managedhsm."); }

std::string AzureRemedies::vault() const {
  const auto host = host_of(settings_.uri);
  return std::string(host.substr(0, host.find('.')));
}

std::string AzureRemedies::key(std::string_view command) const {
  return fmt::format("az keyvault key {} --id {}", command, settings_.master_key_id());
}

// Azure's refusal names the caller and, under roles, the resource.
std::string AzureRemedies::grant(const Error& error) const {
  auto who = word_after(error.message, "oid=", ";, ");
  std::string assignee = "--assignee-object-id " + who;
  if (who.empty()) {
    who = settings_.client_id.empty() ? "\"$PRINCIPAL_ID\"" : settings_.client_id;
    assignee = "--assignee " + who;
  }
  if (is_hsm()) {
    return fmt::format(
        "az keyvault role assignment create --hsm-name {} --role 'Managed HSM Crypto Service "
        "Encryption User' {} --scope /keys/{}",
        vault(), assignee, settings_.key);
  }
  if (error.type == "AccessDenied") {
    return fmt::format(
        "az keyvault set-policy --name {} {} {} --key-permissions get wrapKey unwrapKey", vault(),
        assignee.starts_with("--assignee-object-id") ? "--object-id" : "--spn", who);
  }
  auto scope = word_after(error.message, "Resource: '", "'");
  if (scope.empty()) {
    scope = fmt::format("\"$(az keyvault show --name {} --query id --output tsv)/keys/{}\"",
                        vault(), settings_.key);
  }
  return fmt::format(
      "az role assignment create --role 'Key Vault Crypto Service Encryption User' {} --scope {}",
      assignee, scope);
}

Advice AzureRemedies::of_denial(const Trouble& trouble) const {
  const Error error = trouble.error != nullptr ? *trouble.error : Error{};
  if (error.type == "ForbiddenByFirewall" || error.type == "ForbiddenByConnection") {
    return {.cause =
                "The vault's network rules do not admit this machine: its address is not among "
                "those allowed, or it does not come by a private endpoint",
            .commands = {fmt::format("az keyvault network-rule list --name {}", vault()),
                         fmt::format("az keyvault show --name {} --query "
                                     "properties.publicNetworkAccess",
                                     vault())}};
  }
  if (error.type.empty() || error.type == "Unauthorized") {
    return {.cause = "Azure does not know who asks: the credentials are missing, wrong or expired",
            .commands = {"az account get-access-token --resource https://vault.azure.net "
                         "--query expiresOn",
                         fmt::format("az ad sp show --id {}", settings_.client_id.empty()
                                                                  ? "\"$AZURE_CLIENT_ID\""
                                                                  : settings_.client_id)}};
  }
  if (error.type == "AccessDenied") {
    return {.cause = "The vault's access policies do not have the identity of this service",
            .commands = {grant(error), key("show")}};
  }
  return {.cause = "The identity of this service lacks a role on the key",
          .commands = {grant(error), key("show")}};
}

Advice AzureRemedies::of_unusable_key(const Trouble& trouble) const {
  const Error error = trouble.error != nullptr ? *trouble.error : Error{};
  const auto says = [&](std::string_view code, std::string_view words) {
    return error.type == code || error.message.contains(words);
  };
  if (error.type == "KeyNotFound") {
    return {.cause = "There is no such key in this vault",
            .commands = {key("show"), "az keyvault key list --id " + settings_.uri}};
  }
  if (says("KeyOperationForbidden", "not permitted on this key")) {
    return {.cause = "The key does not permit the operation, whoever asks",
            .commands = {key("show"), key("set-attributes") + " --ops wrapKey unwrapKey"}};
  }
  if (says("KeyExpired", "an expired key") || says("KeyNotYetValid", "not yet valid")) {
    return {.cause = "The newest version of the key has ended, or has not begun: it wraps nothing",
            .commands = {key("show"), key("rotate")}};
  }
  return {.commands = {key("show"), key("set-attributes") + " --enabled true"}};
}

Advice AzureRemedies::advise(const Trouble& trouble) const {
  switch (trouble.kind) {
    case TroubleKind::access_denied:
      return of_denial(trouble);
    case TroubleKind::key_disabled:
      return of_unusable_key(trouble);
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
