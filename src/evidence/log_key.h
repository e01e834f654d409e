// The key that signs checkpoints, and nothing else: an Ed25519 key of the log's own, in a file of
// the log's folder, sealed by the service. Immutable, thus thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

#include "evidence/checkpoint.h"

namespace betrace::kms {

// Seals what the service keeps for itself under a key that only the provider can open. Both block.
struct LogKeySeal {
  std::function<Result<Bytes>(const SecretBytes& secret)> seal;
  std::function<Result<SecretBytes>(ByteView sealed)> open;
};

class LogKey {
 public:
  // The key in `folder`; made there, with `name` and something random behind it, when the folder
  // has none and no tenant's log yet. Errors: store_unavailable; corrupt, naming the file; those of
  // `seal`.
  static Result<LogKey> load_or_make(const std::string& folder, const std::string& name,
                                     const LogKeySeal& seal);

  // What can be said of it without opening the seal; nothing when it has yet to be made. Errors:
  // store_unavailable; corrupt.
  static Result<std::optional<NoteKey>> find(const std::string& folder);

  const NoteKey& public_key() const { return public_key_; }
  std::string sign(const Checkpoint& checkpoint) const;

 private:
  LogKey(NoteKey public_key, SecretBytes secret)
      : public_key_(std::move(public_key)), secret_(std::move(secret)) {}
  NoteKey public_key_;
  SecretBytes secret_;  // 64 bytes: seed, then public key
};

}  // namespace betrace::kms
