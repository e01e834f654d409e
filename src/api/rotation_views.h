// Rotation as JSON, in the words of the contract.
#pragma once

#include <string>
#include <string_view>

#include "betrace/kms/rotation.h"

#include "api/json_writer.h"

namespace betrace::kms {

// "NONE" while there has been no run, "RUNNING", "COMPLETE", "INTERRUPTED".
std::string_view run_status(const RotationRun& run);

// {"status","run_id","trigger","force","total_tenants","rotated","failed","remaining",
// "progress_pct","estimated_completion","started_at","finished_at","signing_keys",
// "encryption_keys","failures":[{"tenantId","error","at"}]}
void write_run(const RotationRun& run, JsonWriter& out);

// {"tenantId","keyType","keyId","createdAt","ageDays"}
void write_due_key(const DueKey& due, JsonWriter& out);

// {"schedulers":[{"name","enabled","cron","lastExecution","nextExecution"}]}
void write_schedule(const ScheduleState& schedule, JsonWriter& out);

// A place in the list of due keys as the opaque `after` of the next page, and back.
std::string page_cursor(const AgePlace& place);
// Errors: invalid_argument.
Result<AgePlace> parse_page_cursor(std::string_view text);

}  // namespace betrace::kms
