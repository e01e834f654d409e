// Putting a backup in the store's place. Nobody may have the store open. Until the last step, which
// replaces the file as a whole, what was there is untouched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "betrace/kms/result.h"

#include "stores/sqlite_backup.h"

namespace betrace::kms {

struct RestoreRequest {
  std::string backup;  // empty: the store as it stands, which is older than its high-water mark
  std::string store;
  std::string witness_dir;
  bool accept_rollback = false;
};

// What the store had and the backup has not.
struct Lost {
  struct RevokedKey {
    std::string tenant, key, reason;
  };
  bool known = true;       // false: there is a store, and it cannot be read
  std::string unreadable;  // why
  std::uint64_t tenants = 0;
  std::uint64_t key_versions = 0;
  std::uint64_t destructions = 0;  // of versions that are active in the backup
  std::vector<RevokedKey> revocations;

  bool anything() const {
    return !known || tenants + key_versions + destructions + revocations.size() > 0;
  }
};

struct RestoreReport {
  std::uint64_t epoch = 0;       // of the backup
  std::uint64_t mark_epoch = 0;  // of the high-water mark; 0: there was none
  bool rolled_back = false;
  Lost lost;
  std::uint64_t destroyed_again = 0;       // tenants
  std::uint64_t keys_destroyed_again = 0;  // versions of others
  std::string kept;                        // where the old store is now; empty: there was none
  std::string mark_kept;  // where the old high-water mark is now; empty: in its place
};

// Errors: conflict when the store is in use, or the backup is older than what was here and that is
// not accepted; corrupt when it is not this store's; store_unavailable.
Result<RestoreReport> restore_store(const RestoreRequest& request, const CopyProgress& progress);

}  // namespace betrace::kms
