// Which schema a store's file has, read from its header alone: without a lock and without making
// files beside it, so that a person of another user may look while the service runs or is down.
#pragma once

#include <string>

#include "betrace/kms/result.h"

namespace betrace::kms {

struct SchemaReport {
  int version = 0;
  int newest = 0;     // that this program knows
  bool exact = true;  // false: the write-ahead log may hold a newer one
};

// Errors: not_found; store_unavailable for a file that is not a store of ours.
Result<SchemaReport> read_schema(const std::string& path);

}  // namespace betrace::kms
