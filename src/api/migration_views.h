// How a migration is shown.
#pragma once

#include "betrace/kms/migration.h"

#include "api/json_writer.h"

namespace betrace::kms {

void write_migration(const MigrationState& state, JsonWriter& out);
// [{"provider","master_key_id","keys","readable"}]
void write_holders(const std::vector<MigrationState::Holder>& holders, JsonWriter& out);

}  // namespace betrace::kms
