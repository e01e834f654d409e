// Access tokens for Google Cloud by application default credentials: a service account's key, a
// user's refresh token, a workload identity of another cloud or of a cluster, an impersonated
// service account, the metadata server. Used by one thread at a time, as CredentialCache does.
#pragma once

#include "providers/catalog.h"
#include "providers/credential_cache.h"
#include "providers/gcp_settings.h"

namespace betrace::kms {

// All of them must outlive what it answers. Its errors: kms_access_denied, kms_unavailable,
// kms_timeout; they name the file or the server, never what is secret.
CredentialCache<Token>::Origin gcp_tokens(const GcpSettings& settings,
                                          const ProviderEnvironment& environment);

}  // namespace betrace::kms
