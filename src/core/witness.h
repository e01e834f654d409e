// What is written down outside the store, so that it outlives an older copy being put in the
// store's place: two files in one folder, which belongs on another disk where there is one.
//   high-water-mark   the newest sealed epoch of the store (epoch.h)
//   tombstones        the certificate of each destroyed tenant, one a line
// Thread-safe, between processes as well; every call may block on the disk.
//
// Errors of every verb: store_unavailable, naming the file.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/result.h"

#include "core/epoch.h"

namespace betrace::kms {

class Witness {
 public:
  explicit Witness(std::string folder);

  std::string mark_path() const;
  std::string tombstones_path() const;

  // The envelope; nothing before the first one.
  Result<std::optional<std::string>> mark() const;
  // Never goes back: an epoch that is not newer than the one in the file, by the same service key,
  // leaves it as it is.
  Status raise_mark(const SealedEpoch& epoch, ByteView service_public_key);
  // Renames the file out of the way, for whoever accepts an older store. Answers its new name.
  Result<std::string> set_mark_aside(SystemTime now);

  // Certificates, in the order of the file.
  Result<std::vector<std::string>> tombstones() const;
  Status bury(std::string_view certificate);

 private:
  const std::string folder_;
};

}  // namespace betrace::kms
