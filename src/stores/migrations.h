// The numbered steps from an empty file to today's schema (migrations/NNNN_name.sql, embedded when
// the program is built). A published step is never edited; a new one is added after it.
#pragma once

#include <cstdint>
#include <span>

#include "stores/sqlite_db.h"

namespace betrace::kms {

// "BTKM", in the file's header: file(1) and we know the file by it.
inline constexpr std::int64_t sqlite_application_id = 0x42544b4d;

struct Migration {
  int version;
  const char* sql;
};

// By version, from 1, without gaps.
std::span<const Migration> migrations();

// Runs the steps that the file lacks, each whole or not at all; several daemons may start at once.
// Errors: store_unavailable when the schema is newer than this program, or not ours.
Status migrate(SqliteDb& db, std::span<const Migration> steps = migrations());

// Whether the file is a store of ours that this release knows. Errors: store_unavailable.
Status check_ours(SqliteDb& db);
Result<bool> has_newest_schema(SqliteDb& db);

}  // namespace betrace::kms
