#include "providers/gcp_remedies.h"

#include <fmt/format.h>

namespace betrace::kms {

std::string GcpRemedies::permission(std::string_view operation) const {
  if (operation == "decrypt") return "cloudkms.cryptoKeyVersions.useToDecrypt";
  if (operation == "describe_key") return "cloudkms.cryptoKeys.get";
  return "cloudkms.cryptoKeyVersions.useToEncrypt";
}

std::string GcpRemedies::place() const {
  return fmt::format("--project {} --location {} --keyring {}", settings_.project,
                     settings_.location, settings_.key_ring);
}

Advice GcpRemedies::of_denial(const Trouble& trouble) const {
  const Error error = trouble.error != nullptr ? *trouble.error : Error{};
  const bool log_in = error.type != "PERMISSION_DENIED" && error.type != "HTTP 403";
  if (log_in) {
    return {.cause = "Google does not know who asks: the credentials are missing, wrong or expired",
            .commands = {"gcloud auth application-default print-access-token > /dev/null",
                         "gcloud auth list"}};
  }
  Advice advice{.cause = "The service account of this service lacks a role on the key"};
  for (const auto* role : {"roles/cloudkms.cryptoKeyEncrypterDecrypter", "roles/cloudkms.viewer"}) {
    advice.commands.push_back(
        fmt::format("gcloud kms keys add-iam-policy-binding {} {} --member "
                    "\"serviceAccount:$SERVICE_ACCOUNT\" --role {}",
                    settings_.key, place(), role));
  }
  return advice;
}

Advice GcpRemedies::advise(const Trouble& trouble) const {
  const auto look = fmt::format("gcloud kms keys describe {} {}", settings_.key, place());
  const auto versions =
      fmt::format("gcloud kms keys versions list --key {} {}", settings_.key, place());
  const auto version = [&](std::string_view verb) {
    return fmt::format("gcloud kms keys versions {} \"$VERSION\" --key {} {}", verb, settings_.key,
                       place());
  };
  switch (trouble.kind) {
    case TroubleKind::access_denied:
      return of_denial(trouble);
    case TroubleKind::key_disabled:
      if (trouble.error != nullptr && trouble.error->type == "NOT_FOUND") {
        return {.cause = "There is no such key in this project, location and key ring",
                .commands = {look, fmt::format("gcloud kms keys list {}", place())}};
      }
      return {.commands = {versions, version("enable")}};
    case TroubleKind::key_pending_deletion:
      // Restored, it is disabled.
      return {.commands = {versions, version("restore"), version("enable")}};
    case TroubleKind::unreachable:
      return {.commands = {fmt::format("curl -v --max-time 5 {}", settings_.url), look}};
    case TroubleKind::slow:
      return {.cause = fmt::format("The service does not run near location {}", settings_.location),
              .commands = {look}};
    case TroubleKind::context_mismatch:
      return {.commands = {look}};
    case TroubleKind::not_for_production:
      return {};
  }
  return {};
}

}  // namespace betrace::kms
