// Makes the part that records and exports traces, as the configuration has it.
#pragma once

#include "app/wiring_parts.h"

namespace betrace::kms {

// Tracer and exporter of `parts`, which has its metrics; none when no collector is configured.
// Errors: invalid_argument names the key.
Status make_tracer(Core::Parts& parts, const Config& config);
// The secret of that key as headers, name=value with commas between, as OpenTelemetry writes them.
// Errors: invalid_argument, without the value.
Result<Headers> secret_headers(const Config& config, std::string_view key);

}  // namespace betrace::kms
