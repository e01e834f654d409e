// How far the history of a store has come, as a number that only grows, sealed by the service key,
// which exists only wrapped by the provider. An older copy of the store has an older epoch; the
// newest one also stands in a file outside (witness.h), so that a store that went back is noticed
// without asking the provider. It does not depend on the store's content: whoever can write the
// store can put a newer epoch into an older one (docs/security.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "betrace/kms/key_store.h"

#include "core/cached_keys.h"

namespace betrace::kms {

inline constexpr std::string_view epoch_type = "application/vnd.betrace.store-epoch.v1+json";
// Notes of the store by number, 20 digits each; the last one counts.
inline constexpr std::string_view epoch_prefix = "epoch/";

struct Epoch {
  std::uint64_t number = 0;
  std::uint64_t generation = 0;  // of the store when it was sealed
  SystemTime sealed_at;
  KeyId service_key;  // the store's identity
};

struct SealedEpoch {
  Epoch epoch;
  std::string envelope;  // DSSE, of epoch_type
};

SealedEpoch seal_epoch(const SigningKey& service_key, Epoch epoch);
// Errors: corrupt when the envelope cannot be read or is not signed by that key.
Result<SealedEpoch> open_epoch(std::string_view envelope, ByteView service_public_key);

std::string epoch_note_name(std::uint64_t number);
// The envelope of the newest one in the store.
Result<std::optional<std::string>> find_epoch(const CallContext& call, KeyStore& store);

}  // namespace betrace::kms
