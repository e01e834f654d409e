// The service in the foreground: started in order, stopped in the reverse one, by signal.
#pragma once

#include "betrace/kms/result.h"

#include "app/config.h"

namespace betrace::kms {

// Runs until SIGTERM or SIGINT, then finishes what is in flight; a second one ends the process at
// once; SIGHUP opens the log file anew. Call from main(), before the first thread: the signals are
// blocked for the threads that follow. Errors: why it could not start, a sentence a line; then
// nothing of it runs.
Status serve(const Config& config);

}  // namespace betrace::kms
