// A migration run as it is kept in the store.
#pragma once

#include <string>
#include <string_view>

#include "betrace/kms/migration.h"

namespace betrace::kms {

inline constexpr std::string_view migration_lease = "migration";
inline constexpr std::string_view migration_note = "migration-latest";

std::string to_text(const MigrationRun& run);
// Errors: corrupt.
Result<MigrationRun> parse_migration_run(std::string_view text);

}  // namespace betrace::kms
