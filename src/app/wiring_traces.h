// Makes the part that records and exports traces, as the configuration has it.
#pragma once

#include "app/wiring_parts.h"

namespace betrace::kms {

// Tracer and exporter of `parts`, which has its metrics; none when no collector is configured.
// Errors: invalid_argument names the key.
Status make_tracer(Core::Parts& parts, const Config& config);

}  // namespace betrace::kms
