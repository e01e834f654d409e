#include "providers/pkcs11_remedies.h"

#include <fmt/format.h>

namespace betrace::kms {

std::string Pkcs11Remedies::permission(std::string_view operation) const {
  if (operation == "decrypt") return "C_Decrypt";
  return operation == "describe_key" ? "C_FindObjects" : "C_Encrypt";
}

std::string Pkcs11Remedies::tool(std::string_view what) const {
  return fmt::format("pkcs11-tool --module {} {}", settings_.module, what);
}

Advice Pkcs11Remedies::advise(const Trouble& trouble) const {
  const auto objects =
      tool(fmt::format("--token-label '{}' --login --list-objects", settings_.token));
  switch (trouble.kind) {
    case TroubleKind::access_denied:
      if (trouble.error != nullptr && trouble.error->type.starts_with("CKR_PIN")) {
        return {.cause = "The token refuses the PIN; after a few wrong ones it locks",
                .commands = {tool("--list-token-slots"),
                             tool(fmt::format("--token-label '{}' --login --login-type so "
                                              "--init-pin",
                                              settings_.token))}};
      }
      return {.cause = "The key may not be used for this", .commands = {objects}};
    case TroubleKind::key_disabled:
    case TroubleKind::key_pending_deletion:
      return {.cause =
                  "The token has no single AES-256 key of this label, or cannot do AES-GCM "
                  "with it",
              .commands = {objects, tool("--list-mechanisms"),
                           tool(fmt::format("--token-label '{}' --login --keygen --key-type "
                                            "AES:32 --label '{}'",
                                            settings_.token, settings_.key))}};
    case TroubleKind::unreachable:
      return {.cause = "The token is not there: removed, switched off, or of another label",
              .commands = {tool("--list-token-slots")}};
    case TroubleKind::slow:
    case TroubleKind::context_mismatch:
      return {.commands = {tool("--list-token-slots")}};
    case TroubleKind::not_for_production:
      return {};
  }
  return {};
}

}  // namespace betrace::kms
