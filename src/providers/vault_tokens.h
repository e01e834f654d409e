// The tokens that the vault provider calls with: a given one, one of a file that somebody else
// renews, or one that a log-in by AppRole, Kubernetes or client certificate answers. Renewed before
// they end; a log-in anew when that fails. Used by one thread at a time, as CredentialCache does.
#pragma once

#include <memory>
#include <optional>

#include "betrace/kms/call_context.h"
#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"

#include "providers/credential_cache.h"
#include "providers/file_secret.h"
#include "providers/vault_client.h"

namespace betrace::kms {

struct VaultToken {
  WipedString value;
  std::optional<SystemTime> expires_at;  // absent: it does not
  bool renewable = false;
  SystemTime obtained_at;             // by the log-in, not by a renewal
  std::chrono::milliseconds lease{};  // that the log-in gave
};
using VaultTokenCache = CredentialCache<VaultToken>;

// All of them must outlive what it answers.
VaultTokenCache::Origin vault_tokens(const VaultSettings& settings, const VaultClient& client,
                                     const Clock& clock);

}  // namespace betrace::kms
