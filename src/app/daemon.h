// The service in the foreground: started in order, stopped in the reverse one, by signal.
#pragma once

#include <functional>

#include "betrace/kms/result.h"

#include "app/config.h"

namespace betrace::kms {

using ConfigReader = std::function<Result<Config>()>;

// Runs until SIGTERM or SIGINT, then finishes what is in flight; a second one ends the process at
// once; SIGHUP opens the log file and the TLS certificate anew and takes the log levels from
// `reread`. Call from main(), before the first thread: the signals are blocked for the threads that
// follow. Errors: why it could not start, a sentence a line; then nothing of it runs.
Status serve(const Config& config, const ConfigReader& reread);

}  // namespace betrace::kms
