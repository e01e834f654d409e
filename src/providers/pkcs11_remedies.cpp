#include "providers/pkcs11_remedies.h"

#include <fmt/format.h>

namespace betrace::kms {

std::string Pkcs11Remedies::permission(std::string_view operation) const {
  if (operation == "decrypt") return "C_Decrypt";
  return operation == "describe_key" ? "C_FindObjects" : "C_Encrypt";
}

// A word of a shell: labels and paths may have blanks and quotes.
std::string Pkcs11Remedies::quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) c == '\'' ? out += R"('\'')" : out += c;
  return out + "'";
}

std::string Pkcs11Remedies::tool(std::string_view what) const {
  const bool plain = settings_.path.find_first_of(" '\"$`\\") == std::string::npos;
  return fmt::format("pkcs11-tool --module {} {}", plain ? settings_.path : quoted(settings_.path),
                     what);
}

std::string Pkcs11Remedies::logged_in(std::string_view what) const {
  return tool(fmt::format("--token-label {} --login {}", quoted(settings_.token), what));
}

// A key of the label that is missing may have been lost: another one opens nothing of it.
Advice Pkcs11Remedies::of_key(const Error* error) const {
  const auto says = [&](std::string_view part) {
    return error != nullptr && error->message.contains(part);
  };
  const auto objects = logged_in("--list-objects");
  if (says("has no AES key")) {
    return {.cause =
                "There is no such key on the token. Where keys are wrapped by it already, restore "
                "it from the token's backup: a new one opens none of them",
            .commands = {objects,
                         logged_in(fmt::format("--keygen --key-type AES:32 --private --sensitive "
                                               "--label {}",
                                               quoted(settings_.key)))}};
  }
  if (says("more than one AES key")) {
    return {.cause =
                "Two keys have one label, and only one of them opens what is wrapped; give "
                "the other one another label",
            .commands = {objects}};
  }
  return {.cause = "The key, or the token, cannot do AES-GCM as the service needs it",
          .commands = {objects, tool("--list-mechanisms")}};
}

Advice Pkcs11Remedies::of_denial(const Error* error) const {
  const auto type = error != nullptr ? std::string_view(error->type) : std::string_view();
  const auto slots = tool("--list-token-slots");
  if (type == "CKF_USER_PIN_FINAL_TRY") {
    return {.cause =
                "Wrong PINs were tried, by this service or by others: one more locks the token. "
                "Correct pkcs11.pin, and log in by hand, which gives the tries back",
            .commands = {slots, logged_in("--list-objects")}};
  }
  if (type == "CKR_PIN_INCORRECT" || type == "CKR_PIN_INVALID" || type == "CKR_PIN_LEN_RANGE") {
    return {.cause =
                "The token refuses pkcs11.pin, and locks after a few wrong ones; correct it, and "
                "restart the service",
            .commands = {slots, "systemctl restart betrace-kms"}};
  }
  if (type.contains("PIN")) {
    return {.cause =
                "The token's user PIN is locked, has expired or was never set: its security "
                "officer sets it anew",
            .commands = {slots,
                         tool(fmt::format("--token-label {} --login --login-type so "
                                          "--init-pin",
                                          quoted(settings_.token))),
                         "systemctl restart betrace-kms"}};
  }
  return {.cause = "The key may not be used for this", .commands = {logged_in("--list-objects")}};
}

Advice Pkcs11Remedies::advise(const Trouble& trouble) const {
  switch (trouble.kind) {
    case TroubleKind::access_denied:
      return of_denial(trouble.error);
    case TroubleKind::key_disabled:
    case TroubleKind::key_pending_deletion:
      return of_key(trouble.error);
    case TroubleKind::unreachable:
      if (trouble.error != nullptr && trouble.error->message.contains("more than one token")) {
        return {.cause =
                    "Two tokens have one label, and the key is on one of them: say which by "
                    "its serial number, pkcs11.token-serial",
                .commands = {tool("--list-token-slots")}};
      }
      return {.cause =
                  "The token is not there: removed, switched off, or of another label; or its "
                  "module hangs",
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
