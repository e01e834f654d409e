// Where the AWS provider's credentials come from: an ordered list of sources, the first that has
// some wins, and what it answered is kept until shortly before it expires or its origin changes.
// A further source is a class of two methods and one line in make_aws_credentials().
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

#include "providers/catalog.h"

namespace betrace::kms {

struct AwsCredentials {
  std::string access_key_id;
  WipedString secret_access_key;
  WipedString session_token;             // empty for long-term keys
  std::optional<SystemTime> expires_at;  // absent: not known to expire
};

// Used by one thread at a time.
class CredentialSource {
 public:
  virtual ~CredentialSource() = default;
  // Where it looks, for the message when nobody has any, e.g. "environment (AWS_ACCESS_KEY_ID …)".
  virtual std::string description() const = 0;
  // Nothing when there is nothing here; an error when there is something that cannot be used.
  virtual Result<std::optional<AwsCredentials>> load(const CallContext& call) = 0;
  // Whether load() would look at something newer than last time.
  virtual bool has_changed() const { return false; }
};

// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN.
class EnvironmentCredentials final : public CredentialSource {
 public:
  explicit EnvironmentCredentials(EnvironmentVariables environment);
  std::string description() const override;
  Result<std::optional<AwsCredentials>> load(const CallContext& call) override;

 private:
  const EnvironmentVariables environment_;
};

// Thread-safe. One thread loads at a time; the others go on with what is still valid, else wait
// for it until their deadline.
class AwsCredentialCache {
 public:
  using Pointer = std::shared_ptr<const AwsCredentials>;
  // `clock` must outlive this.
  AwsCredentialCache(std::vector<std::unique_ptr<CredentialSource>> sources, const Clock& clock);

  // Errors: kms_access_denied when no source has any, naming where it looked; what a source
  // answers; kms_timeout.
  Result<Pointer> get(const CallContext& call);
  // AWS refused these: the next get() loads anew.
  void forget(const Pointer& refused);

 private:
  bool is_valid(SystemTime now) const;
  bool is_due(SystemTime now) const;
  Result<Pointer> load(const CallContext& call);
  Result<Pointer> load_here(const CallContext& call, std::unique_lock<std::mutex>& lock);

  const std::vector<std::unique_ptr<CredentialSource>> sources_;
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable loaded_;
  Pointer current_;
  bool loading_ = false;
  std::uint64_t loads_ = 0;
  std::optional<Error> last_error_;
  SystemTime retry_at_{};  // not before, after a load failed while the old ones were valid
};

// Environment, then the shared files; of an instance whose profile is set, the profile alone.
AwsCredentialCache make_aws_credentials(const ProviderEnvironment& environment,
                                        const std::string& region, const std::string& sts_url);

}  // namespace betrace::kms
