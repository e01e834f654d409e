// Moving keys from one master key to another, while everything goes on: every key that is not
// wrapped by the current provider's master key, and by the second one's where there is one, is
// unwrapped by the one that has it, wrapped anew, opened again to be sure, and only then loses its
// old form. One run at a time on a store; what it has
// done is done, so that one which is interrupted begins where it was. Thread-safe; `done` may come
// later.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/key_store.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

struct MigrationFailure {
  KeyId key;
  std::string tenant;
  std::string error;  // "wrapped_elsewhere: …"
};

struct MigrationRun {
  enum class State : std::uint8_t { none, running, complete, interrupted };
  State state = State::none;
  std::string id;    // UUIDv7
  std::string node;  // who does it
  SystemTime started_at;
  std::optional<SystemTime> finished_at;
  MasterKey target;                 // where the keys go
  std::optional<MasterKey> second;  // and by which each is wrapped as well
  std::uint64_t total = 0, moved = 0, failed = 0;
  std::vector<MigrationFailure> failures;  // the first 1,000
};

struct MigrationState {
  MigrationRun run;  // the one in progress, else the last one
  // How many wrappings each master key holds; whether a configured provider has that name.
  struct Holder {
    WrappingCount count;
    bool readable = true;
  };
  std::vector<Holder> holders;
};

class MigrationControl {
 public:
  virtual ~MigrationControl() = default;
  // Begins a run and answers it as it begins. Errors: conflict while one runs; the provider's.
  virtual void start(CallContext call, Done<MigrationRun> done) = 0;
  virtual void state(CallContext call, Done<MigrationState> done) = 0;
};

}  // namespace betrace::kms
