// A fake of AWS KMS behind an HttpClient: GenerateDataKey, Encrypt, Decrypt and DescribeKey of
// TrentService with keys, aliases, states and contexts that hold, the errors AWS gives, and
// troubles by order: any status, header and body, a dead network, slowness. Signatures are not
// computed; credentials are compared. Never sleeps. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "betrace/kms/key.h"
#include "betrace/kms/secret_bytes.h"
#include "betrace/kms/signer.h"

#include "base/http.h"

namespace betrace::kms {

class FakeKms final : public HttpClient {
 public:
  static constexpr std::string_view account = "123456789012";

  // What a request is answered with instead of the truth.
  struct Trouble {
    std::string operation;  // "Decrypt"; empty: any
    std::string region;     // empty: any
    int status = 500;
    Headers headers;
    std::string body;
    std::optional<Error> network;       // no answer at all
    std::chrono::milliseconds delay{};  // longer than the call's timeout: kms_timeout
    int times = 1;
  };
  struct Seen {
    std::string operation, url, body;
    Headers headers;
    std::string access_key_id, session_token, region;
    std::chrono::milliseconds timeout{};
  };

  // Answers the key's ARN.
  std::string create_key(std::string_view region = "us-east-1");
  // With a replica in every region: an ARN of it is served in its own region alone, and what one
  // wraps the others open. Answers the ARN in us-east-1.
  std::string create_multi_region_key();
  // `name` is "alias/…"; moves it when it exists.
  void create_alias(const std::string& name, const std::string& key_arn);
  // Enabled, Disabled, PendingDeletion, …
  void set_state(const std::string& key_arn, const std::string& state);
  void delete_key(const std::string& key_arn);
  void deny(const std::string& operation);
  // From the first call on, only credentials that were named are accepted.
  void accept(const std::string& access_key_id, const std::string& secret,
              const std::string& session_token = "");
  void expire(const std::string& access_key_id);
  void add_trouble(Trouble trouble);
  void clear_troubles();

  std::vector<Seen> seen() const;
  std::size_t count(std::string_view operation) const;

  Result<HttpAnswer> send(const HttpCall& call) override;

 private:
  struct Key {
    std::string arn, state = "Enabled";
    SecretBytes master;
  };
  struct Login {
    std::string secret, session_token;
    bool expired = false;
  };

  Result<HttpAnswer> answer(const HttpCall& call, const std::string& operation);
  std::optional<Trouble> take_trouble(const std::string& operation, const std::string& region);
  std::optional<HttpAnswer> refuse_login(const AwsSigning& login) const;
  std::string add_key(const std::string& id, std::string_view region);
  Key* find_key(const std::string& named, const std::string& region);
  HttpAnswer wrap(const Key& key, const std::string& arn, ByteView plaintext,
                  const EncryptionContext& context, bool show_plaintext) const;
  HttpAnswer unwrap(const Key* named, ByteView blob, const EncryptionContext& context);

  mutable std::mutex mutex_;
  std::map<std::string, Key> keys_;  // by the id at the end of the ARN
  std::map<std::string, std::string> aliases_;
  std::map<std::string, Login> logins_;
  std::set<std::string> denied_;
  std::vector<Trouble> troubles_;
  std::vector<Seen> seen_;
};

// A fake of STS AssumeRole behind an HttpClient. Roles that were not allowed are refused in AWS's
// XML. Thread-safe.
class FakeSts final : public HttpClient {
 public:
  struct Role {
    std::string arn;
    std::string trusted_access_key_id;
    std::string external_id;
    std::string access_key_id;  // of the credentials handed out, with a number appended
    std::string expiration;     // "2026-11-23T03:00:00Z"
  };
  void allow(Role role);
  void set_expiration(const std::string& role_arn, const std::string& expiration);
  // The next requests are answered with this.
  void fail_with(int status, std::string body, int times = 1);
  // Every request first calls this, outside the lock.
  void on_request(std::function<void()> hook);
  std::vector<std::string> bodies() const;

  Result<HttpAnswer> send(const HttpCall& call) override;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, Role> roles_;
  std::vector<std::string> bodies_;
  std::function<void()> hook_;
  int failures_ = 0;
  HttpAnswer failure_;
};

// Both services behind one client, by the service that a call is signed for.
class FakeAws final : public HttpClient {
 public:
  FakeKms kms;
  FakeSts sts;
  Result<HttpAnswer> send(const HttpCall& call) override {
    return call.aws && call.aws->service == "sts" ? sts.send(call) : kms.send(call);
  }
};

}  // namespace betrace::kms
