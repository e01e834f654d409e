// A provider wraps and unwraps data keys under a master key that it never shows: AWS KMS, Vault, an
// HSM, a local file. It turns requests into bytes and answers into types; it does not retry, cache,
// or guard (GuardedProvider does), so its errors arrive as they are. Thread-safe. Calls may block
// until the deadline of the context.
//
// Error codes, on which retry and breaker depend:
//   kms_access_denied    the master key's owner refuses us; not retried, counts as a failure
//   kms_key_disabled     the master key is disabled or pending deletion; the same
//   kms_unavailable     connection, 5xx, throttling (with Error::throttled); retried
//   kms_timeout         the deadline passed; retried while the budget lasts
//   invalid_ciphertext  wrong context or altered blob; neither retried nor a failure
//   invalid_argument    the provider refused the request itself; the same
//   wrapped_elsewhere   the blob is of another provider or master key
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "betrace/kms/call_context.h"
#include "betrace/kms/key.h"
#include "betrace/kms/remedies.h"
#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

// The sentence users grep for when a context does not match (the manual's Issue 8).
inline constexpr std::string_view context_mismatch_message =
    "The encryption context provided does not match the encryption context used to generate the "
    "data key";

struct DataKey {
  SecretBytes plaintext;  // 32 bytes
  Wrapping wrapped;
};

struct MasterKeyInfo {
  std::string key_id;                     // as the provider names it, e.g. an ARN
  std::string state;                      // the provider's word, e.g. "Enabled", "Disabled"
  bool usable = true;                     // may wrap and unwrap now
  std::optional<SystemTime> deletion_at;  // when it is pending deletion
  std::string alias = {};                 // by which it is configured, if by one
};

class Provider {
 public:
  virtual ~Provider() = default;
  // The name in the catalogue, e.g. "aws".
  virtual std::string_view name() const = 0;
  // One line for the start-up log, e.g. "AWS KMS - region: us-east-1, key: alias/betrace".
  virtual std::string description() const = 0;
  // Whether calls leave the process. A provider that answers from memory is called without a hop to
  // the provider threads.
  virtual bool remote() const { return true; }

  // A fresh 32-byte key and its wrapped form, bound to `context`.
  virtual Result<DataKey> generate_data_key(const CallContext& call,
                                            const EncryptionContext& context) = 0;
  // Wraps up to 4096 bytes.
  virtual Result<Wrapping> encrypt(const CallContext& call, std::span<const std::uint8_t> plaintext,
                                   const EncryptionContext& context) = 0;
  virtual Result<SecretBytes> decrypt(const CallContext& call, const Wrapping& wrapping,
                                      const EncryptionContext& context) = 0;
  virtual Result<MasterKeyInfo> describe_key(const CallContext& call) = 0;

  // What to do about its errors; null: nothing that is peculiar to it. Lives as long as it does.
  virtual const Remedies* remedies() const { return nullptr; }
};

// The settings of one provider instance, looked up by their full key, e.g. "aws.kms.region".
// Answers nothing for what is absent or empty.
using Settings = std::function<std::optional<std::string>(std::string_view key)>;
using ProviderFactory = std::function<Result<std::unique_ptr<Provider>>(const Settings&)>;

// Makes `name` a value of betrace.kms.provider. Call before the service starts; a name that exists
// is refused. Errors: already_exists, invalid_argument.
Status register_provider(std::string name, ProviderFactory factory);

}  // namespace betrace::kms
