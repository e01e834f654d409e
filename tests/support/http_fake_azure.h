// A fake of Azure behind an HttpClient: a key vault with its challenge, keys with versions, states
// and kinds, its deleted keys, and the endpoints that give tokens (which check what they are
// shown). Thread-safe.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "betrace/kms/clock.h"
#include "betrace/kms/secret_bytes.h"

#include "support/scripted_http.h"

namespace betrace::kms {

class FakeAzure final : public ScriptedHttp {
 public:
  static constexpr std::string_view uri = "https://acme.vault.azure.net";
  static constexpr std::string_view tenant = "11111111-1111-1111-1111-111111111111";

  explicit FakeAzure(const Clock& clock) : clock_(clock) {}

  // `kty`: "RSA", "RSA-HSM", "oct-HSM", "EC". Again: a new version.
  void create_key(const std::string& name, const std::string& kty = "RSA");
  void delete_key(const std::string& name);  // softly
  void purge_key(const std::string& name);
  void enable(const std::string& name, bool enabled);
  // Times as seconds since 1970; nothing: no such bound.
  void set_life(const std::string& name, std::optional<std::int64_t> not_before,
                std::optional<std::int64_t> ends);
  // What a description has beside kid and kty, e.g. R"(,"key_ops":["sign"])".
  void set_more(const std::string& name, const std::string& json);
  void deny(const std::string& verb);         // "wrapkey", "unwrapkey", "get"
  void ask_for(const std::string& resource);  // in the challenge
  // Gives tokens of that tenant only, names it in the challenge, and knows none of before.
  void move_to(const std::string& tenant);
  // Key identifiers come back as this vault's and key's owner wrote them.
  void name_itself(const std::string& uri) { shown_uri_ = uri; }
  void revoke_tokens();
  // Assertions that the tenant's endpoint accepts as they are.
  void accept_assertion(const std::string& assertion);
  void accept_certificate(const std::string& certificate_pem);

 private:
  struct Version {
    std::string id;
    SecretBytes master;
  };
  struct Key {
    std::string kty;
    bool enabled = true;
    std::string life = {}, more = {};
    std::vector<Version> versions = {};
  };

  Result<HttpAnswer> answer(const Seen& seen) override;
  static HttpAnswer error(int status, std::string_view code, std::string_view words,
                          std::string_view inner = {});
  HttpAnswer challenge() const;
  HttpAnswer give_token(std::string_view kind, bool as_text);
  HttpAnswer token_for_form(const Seen& seen);
  bool is_own_assertion(const std::string& jwt, const std::string& audience) const;
  HttpAnswer call_vault(const Seen& seen);
  HttpAnswer describe(const std::string& name);
  HttpAnswer wrap(const std::string& name, const Seen& seen);
  HttpAnswer unwrap(const std::string& name, const std::string& version, const Seen& seen);
  HttpAnswer with_value(const std::string& name, const Version& version,
                        std::span<const std::uint8_t> value) const;

  const Clock& clock_;
  std::map<std::string, Key> keys_, deleted_;
  std::set<std::string> tokens_, denied_, assertions_;
  std::string certificate_, resource_ = "https://vault.azure.net";
  std::string tenant_{tenant}, shown_uri_{uri};
  int given_ = 0, versions_ = 0;
};

// A self-signed certificate of an RSA key, and both in one PEM text as a service principal has
// them.
struct CertifiedKey {
  std::string certificate, both;
};
CertifiedKey make_certified_key();

}  // namespace betrace::kms
