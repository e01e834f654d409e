// From the quarkus.log.* keys to the options of the log. Thread-safe.
#pragma once

#include "app/config.h"
#include "telemetry/log.h"

namespace betrace::kms {

LogOptions log_options(const Config& config);

}  // namespace betrace::kms
