// Moves a store's epoch on: at once for what must never be undone unnoticed (a revocation, a
// destruction), and every few seconds for all else. Thread-safe; blocks on the store, the witness's
// disk and, until the service key has been unwrapped once, the provider.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "betrace/kms/clock.h"
#include "betrace/kms/key_store.h"

#include "core/service_key.h"
#include "core/witness.h"

namespace betrace::kms {

class EpochKeeper {
 public:
  // All of them must outlive it.
  struct Parts {
    KeyStore& store;
    ServiceKey& service_key;
    Witness& witness;
    const Clock& clock;
  };
  explicit EpochKeeper(const Parts& parts) : parts_(parts) {}

  // Seals a newer epoch, writes it into the store and then outside. Nothing happens before the
  // service has a key. Errors: those of the store, the witness and the provider.
  Status advance(const CallContext& call);
  // The same, when the store has changed since the last one that anybody sealed.
  Status keep();
  // As advance(); a failure is logged: for a caller whose own change is made and stays made.
  void try_advance(const CallContext& call);

 private:
  Status write_down(const CallContext& call);

  const Parts parts_;
  std::mutex sealing_;  // one at a time
  std::atomic<std::uint64_t> sealed_generation_{0};
};

}  // namespace betrace::kms
