// A doctor's report as JSON, for the route and for the command:
// {"healthy","findings":[{"id","severity","title","evidence","cause","remedy","manual"}]}.
#pragma once

#include "betrace/kms/doctor.h"

#include "api/json_writer.h"

namespace betrace::kms {

void write_doctor_report(const DoctorReport& report, JsonWriter& out);
// "critical", "warning", "info".
std::string_view severity_name(Severity severity);

}  // namespace betrace::kms
