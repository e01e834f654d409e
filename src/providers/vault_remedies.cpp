#include "providers/vault_remedies.h"

#include <fmt/format.h>

namespace betrace::kms {
namespace {

bool contains(std::string_view text, std::string_view part) { return text.contains(part); }

}  // namespace

std::string VaultRemedies::path(std::string_view operation) const {
  const std::string_view verb = operation == "generate_data_key" ? "datakey/plaintext"
                                : operation == "describe_key"    ? "keys"
                                                                 : operation;
  return fmt::format("{}/{}/{}", settings_.mount, verb, settings_.key);
}

// As a policy has it: a capability on a path.
std::string VaultRemedies::permission(std::string_view operation) const {
  return fmt::format("{} on {}", operation == "describe_key" ? "read" : "update", path(operation));
}

std::string VaultRemedies::place() const {
  auto text = fmt::format("BAO_ADDR={} ", settings_.address);
  if (!settings_.name_space.empty()) text += fmt::format("BAO_NAMESPACE={} ", settings_.name_space);
  if (!settings_.ca_file.empty()) text += fmt::format("BAO_CACERT={} ", settings_.ca_file);
  return text;
}

Advice VaultRemedies::of_denial(const Trouble& trouble) const {
  const Error error = trouble.error != nullptr ? *trouble.error : Error{};
  const bool log_in = contains(error.message, "log in") || contains(error.message, "token-file") ||
                      contains(error.message, "secret-id-file") ||
                      contains(error.message, "the token");
  if (log_in) {
    const auto look = settings_.login == VaultLogin::token
                          ? place() + "bao token lookup"
                          : place() + fmt::format("bao read auth/{}/config", settings_.auth_mount);
    return {.cause =
                "Vault does not let the service log in: what it logs in with is wrong, expired "
                "or revoked",
            .commands = {look, place() + "bao auth list"}};
  }
  // So Vault answers to a token that it does not accept; to a policy, how many errors occurred.
  const bool of_token =
      contains(error.message, "invalid token") || (contains(error.message, "permission denied") &&
                                                   !contains(error.message, "1 error occurred"));
  if (of_token) {
    return {.cause =
                "Vault does not accept the service's token: it has ended, was revoked, or is "
                "bound to another address",
            .commands = {place() + "bao token lookup", place() + "bao auth list"}};
  }
  std::string rules;
  for (const auto* operation : {"generate_data_key", "encrypt", "decrypt", "describe_key"}) {
    rules += fmt::format(R"(path "{}" {{ capabilities = ["{}"] }}\n)", path(operation),
                         operation == std::string_view("describe_key") ? "read" : "update");
  }
  return {
      .cause = "The policies of the service's token lack the permission",
      .commands = {fmt::format("printf '{}' | {}bao policy write betrace-kms -", rules, place()),
                   place() + "bao token lookup"}};
}

Advice VaultRemedies::advise(const Trouble& trouble) const {
  const auto says = [&](std::string_view part) {
    return trouble.error != nullptr && contains(trouble.error->message, part);
  };
  const auto look = place() + "bao read " + path("describe_key");
  switch (trouble.kind) {
    case TroubleKind::access_denied:
      return of_denial(trouble);
    case TroubleKind::key_disabled:
      if (says("disallowed by policy")) {
        return {.cause = "min_decryption_version is above the version that wrapped the key",
                .commands = {look, place() + fmt::format("bao write {}/config "
                                                         "min_decryption_version=1",
                                                         path("describe_key"))}};
      }
      if (says("soft-deleted")) {
        return {.cause = "Somebody has deleted it in a way that can be undone",
                .commands = {look, place() + fmt::format("bao write -f {}/soft-delete-restore",
                                                         path("describe_key"))}};
      }
      if (says("binds no context")) {
        return {.cause =
                    "This Vault is older than 1.13, and would open each tenant's keys as "
                    "another's",
                .commands = {fmt::format("curl -s {}/v1/sys/health", settings_.address)}};
      }
      return {.cause =
                  "There is no such key under this mount, or it is of a type that binds no "
                  "context",
              .commands = {look, place() + "bao secrets list",
                           place() + fmt::format("bao write -f {} type=aes256-gcm96",
                                                 path("describe_key"))}};
    case TroubleKind::unreachable:
      if (says("ealed")) {
        return {.cause = "Vault is sealed: it was restarted, and nobody has unsealed it",
                .commands = {place() + "bao status", place() + "bao operator unseal"}};
      }
      return {.commands = {fmt::format("curl -v --max-time 5 {}/v1/sys/health", settings_.address),
                           place() + "bao status"}};
    case TroubleKind::slow:
      return {
          .commands = {fmt::format("curl -so /dev/null -w '%{{time_total}}\\n' {}/v1/sys/health",
                                   settings_.address)}};
    case TroubleKind::key_pending_deletion:
    case TroubleKind::context_mismatch:
      return {.commands = {look}};
    case TroubleKind::not_for_production:
      return {};
  }
  return {};
}

}  // namespace betrace::kms
