// One request to Vault's or OpenBao's HTTP interface (developer.hashicorp.com/vault/api-docs), and
// its refusals in our vocabulary. Thread-safe.
#pragma once

#include <string>

#include "betrace/kms/call_context.h"
#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"

#include "base/http.h"
#include "providers/json_answer.h"
#include "providers/vault_settings.h"

namespace betrace::kms {

struct VaultRequest {
  std::string method = "POST";
  std::string path;     // after /v1/: "transit/encrypt/KEY"
  std::string purpose;  // for people: "encrypt"
  WipedString body;
};

class VaultClient {
 public:
  // All of them must outlive it.
  VaultClient(const VaultSettings& settings, HttpClient& http, const Clock& clock)
      : settings_(settings), http_(http), clock_(clock) {}

  // `token` may be empty. Errors: as classify_vault_error(); kms_timeout, kms_unavailable.
  Result<JsonAnswer> ask(const CallContext& call, const VaultRequest& request,
                         const WipedString& token) const;

 private:
  const VaultSettings& settings_;
  HttpClient& http_;
  const Clock& clock_;
};

// The error that an answer other than 200 stands for; its message is Vault's own, word for word.
Error classify_vault_error(const HttpAnswer& answer, const VaultRequest& request, SystemTime now);

}  // namespace betrace::kms
