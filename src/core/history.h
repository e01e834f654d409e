// Whether a store is the newest one that was here, and what a store that is not must be told: that
// tenants destroyed since stay destroyed. Blocks on store and disk; asks no provider.
#pragma once

#include <cstdint>
#include <optional>

#include "betrace/kms/clock.h"
#include "betrace/kms/key_store.h"

#include "core/destruction.h"
#include "core/epoch.h"
#include "core/witness.h"

namespace betrace::kms {

struct History {
  std::optional<Bytes> service_key;  // the public half; nothing before the first tenant
  std::optional<Epoch> store, mark;  // both sealed by that key
};

// Without the mark. Errors: corrupt when the store's epoch is not sealed by its service key.
Result<History> read_history(const CallContext& call, KeyStore& store);
// The high-water mark, for a store with this service key. Errors: corrupt when it cannot be read,
// or belongs to another store; conflict when there is one, and no service key.
Result<std::optional<Epoch>> read_mark(const Witness& witness,
                                       const std::optional<Bytes>& service_key);
// Both.
Result<History> read_history(const CallContext& call, KeyStore& store, const Witness& witness);
// Errors: conflict when the store is older than its high-water mark.
Status check_not_rolled_back(const History& history, const Witness& witness);

// Destroys the secrets of a tenant that was destroyed before, or takes its name where the store
// does not know it; false when there was nothing to do.
Result<bool> destroy_again(const CallContext& call, KeyStore& store, DestructionNote note,
                           SystemTime now);
// Destroys the secrets of tenants that the tombstones name and the store knows as alive; answers
// how many. Tombstones that the service key did not sign are left out, and logged.
Result<std::uint64_t> apply_tombstones(const CallContext& call, KeyStore& store,
                                       const Witness& witness, const Clock& clock);
// Writes down the certificates that the store has and the witness has not; what cannot be read is
// left out, and logged.
Status complete_tombstones(const CallContext& call, KeyStore& store, Witness& witness);

}  // namespace betrace::kms
