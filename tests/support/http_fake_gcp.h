// A fake of Google behind an HttpClient: Cloud KMS with contexts and checksums that hold, its token
// endpoint (which checks the signature and the claims of a JWT), the exchange of workload
// identities, impersonation, and the metadata server. Thread-safe.
#pragma once

#include <map>
#include <set>
#include <string>

#include "betrace/kms/clock.h"
#include "betrace/kms/secret_bytes.h"

#include "support/scripted_http.h"

namespace betrace::kms {

class FakeGcp final : public ScriptedHttp {
 public:
  static constexpr std::string_view parent = "projects/p/locations/us-east1/keyRings/r/cryptoKeys/";
  static constexpr std::string_view token_url = "https://oauth2.googleapis.com/token";

  explicit FakeGcp(const Clock& clock) : clock_(clock) {}

  void create_key(const std::string& name);  // of `parent`
  void delete_key(const std::string& name);
  // ENABLED, DISABLED, DESTROY_SCHEDULED; of the primary version.
  void set_state(const std::string& name, const std::string& state);
  // Further fields of its description.
  void describe_as(const std::string& name, const std::string& fields);
  void deny(const std::string& verb);  // "encrypt", "decrypt", "generateRandomBytes", "describe"
  void have_hsms(bool there);
  // Of the service account `client_email`, in PEM.
  void accept_jwts_of(const std::string& client_email, const std::string& public_key);
  void accept_subject_token(const std::string& token);
  void revoke_tokens();
  void damage_checksums() { damaged_ = true; }

 private:
  struct Key {
    SecretBytes master;
    std::string state = "ENABLED", fields = {};
  };

  Result<HttpAnswer> answer(const Seen& seen) override;
  static HttpAnswer error(int status, std::string_view name, std::string_view words);
  HttpAnswer give_token(std::string_view kind);
  HttpAnswer token_for_form(const Seen& seen);
  std::string fault_of_jwt(const std::string& jwt) const;
  HttpAnswer call_kms(const std::string& path, const Seen& seen);
  HttpAnswer random_bytes_of_hsm() const;
  HttpAnswer encrypt(const Key& key, const Seen& seen) const;
  HttpAnswer decrypt(const Key& key, const Seen& seen) const;
  HttpAnswer describe(const std::string& path, const Key& key) const;
  std::string with_sum(std::string_view name, std::span<const std::uint8_t> bytes) const;

  const Clock& clock_;
  std::map<std::string, Key> keys_;
  std::map<std::string, std::string> accounts_;  // client_email → public key
  std::set<std::string> subject_tokens_, tokens_, denied_;
  bool hsms_ = false, damaged_ = false;
  int given_ = 0;
};

// A key pair of RSA with 2048 bits, in PEM: private, public.
std::pair<std::string, std::string> rsa_pair();

}  // namespace betrace::kms
