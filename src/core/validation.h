// The manual's validation: each thing the service needs from its provider, tried for real.
#pragma once

#include <chrono>

#include "betrace/kms/clock.h"
#include "betrace/kms/monitor.h"
#include "betrace/kms/provider.h"

namespace betrace::kms {

// Runs all six tests under a probe context of their own; nothing is stored. Each call of the
// provider has `call_timeout`. Blocks.
ValidationReport run_validation(const CallContext& call, Provider& provider, const Clock& clock,
                                std::chrono::milliseconds call_timeout);

}  // namespace betrace::kms
