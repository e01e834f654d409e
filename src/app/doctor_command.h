// The command `doctor`: reads the configuration, asks the provider itself and live, and the service
// for what only that knows.
#pragma once

#include "app/command_line.h"
#include "app/config.h"
#include "app/daemon_client.h"
#include "app/world.h"

namespace betrace::kms {

// Exit codes: ok when nothing is critical or a warning; check_failed; usage when the configuration
// cannot be used, which is a finding as well. A service that does not answer is a finding.
ExitCode run_doctor(const CommandLine& line, const World& world, const Result<Config>& config,
                    const LocalServiceReader& local);

}  // namespace betrace::kms
