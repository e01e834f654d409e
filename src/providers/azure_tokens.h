// Access tokens for a key vault: by a service principal's secret or certificate, a workload
// identity of Kubernetes, or a managed identity. Whom a token is for is what the vault's challenge
// says, if that is the vault's own, asked at first and after a refusal; secrets go to the
// configured authority and nowhere else. Used by one thread at a time, as CredentialCache does.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "betrace/kms/clock.h"

#include "base/http.h"
#include "providers/azure_settings.h"
#include "providers/credential_cache.h"

namespace betrace::kms {

struct AzureChallenge {
  std::string tenant, resource;  // "https://vault.azure.net"
};
// The header WWW-Authenticate of a 401. Nothing unless it is a Bearer challenge with authorization
// and resource (or scope).
std::optional<AzureChallenge> parse_azure_challenge(std::string_view header);
// Whether tokens for `resource` may be shown to the vault at `uri`: its host must end with the
// resource's, else a server could have tokens for another service sent to it.
bool is_of_vault(std::string_view resource, std::string_view uri);

// All of them must outlive what it answers. Errors: kms_access_denied, kms_unavailable,
// kms_timeout.
CredentialCache<Token>::Origin azure_tokens(const AzureSettings& settings, HttpClient& http,
                                            const Clock& clock);

}  // namespace betrace::kms
