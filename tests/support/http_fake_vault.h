// A fake of Vault behind an HttpClient: transit's datakey, encrypt, decrypt and key description
// with associated data that binds, log-ins, tokens that live and are renewed, and troubles by
// order. Never sleeps. Thread-safe.
#pragma once

#include <map>
#include <set>
#include <string>

#include "betrace/kms/clock.h"
#include "betrace/kms/key.h"
#include "betrace/kms/secret_bytes.h"

#include "support/scripted_http.h"

namespace betrace::kms {

class FakeVault final : public ScriptedHttp {
 public:
  explicit FakeVault(const Clock& clock) : clock_(clock) {}

  void create_key(const std::string& name, const std::string& type = "aes256-gcm96");
  void delete_key(const std::string& name);
  // Further fields of its description, e.g. R"("derived":true)".
  void describe_as(const std::string& name, const std::string& fields);
  // As HashiCorp's: `datakey` takes no associated data, and says nothing about it.
  void let_datakey_ignore_context() { datakey_ignores_context_ = true; }
  // As Vault before 1.13: nothing takes associated data.
  void let_all_ignore_context() { all_ignore_context_ = true; }
  void let_all_take_context() { all_ignore_context_ = false; }
  // A token that lives so long (zero: for ever) and may be renewed up to `longest`.
  void accept_token(const std::string& token, std::chrono::seconds life = {},
                    std::chrono::seconds longest = {});
  void revoke_token(const std::string& token);
  // auth/MOUNT/login with this body answers a token of that life.
  void accept_login(const std::string& mount, const std::string& body, std::chrono::seconds life,
                    std::chrono::seconds longest = {});
  void deny(const std::string& path);

 private:
  struct Token {
    SystemTime ends_at, longest_until;
    std::chrono::seconds life{};
    bool lives(SystemTime now) const { return life.count() == 0 || now < ends_at; }
  };
  struct Login {
    std::string body;
    std::chrono::seconds life, longest;
  };
  struct Key {
    std::string type, fields;
    SecretBytes master;
  };

  Result<HttpAnswer> answer(const Seen& seen) override;
  static HttpAnswer error(int status, std::string_view words) {
    return json(status, fmt::format(R"({{"errors":["{}"]}})", words));
  }
  HttpAnswer log_in(const std::string& mount, const std::string& body);
  HttpAnswer renew(const std::string& token);
  HttpAnswer look_up(const std::string& token);
  HttpAnswer transit(const std::string& path, const Seen& seen);
  HttpAnswer wrap(const Key& key, std::span<const std::uint8_t> plaintext, const std::string& aad,
                  bool show) const;
  HttpAnswer unwrap(const Key& key, const std::string& text, const std::string& aad) const;
  void give(const std::string& token, std::chrono::seconds life, std::chrono::seconds longest);

  const Clock& clock_;
  std::map<std::string, Key> keys_;
  std::map<std::string, Token> tokens_;
  std::map<std::string, Login> logins_;
  std::set<std::string> denied_;
  bool datakey_ignores_context_ = false, all_ignore_context_ = false;
  int given_ = 0;
};

}  // namespace betrace::kms
