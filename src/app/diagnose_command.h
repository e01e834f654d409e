// The command `diagnose`: one file to hand to whoever helps, with what the manual's
// diagnostic-bundle.sh collects, under its names, and doctor's report.
#pragma once

#include "app/command_line.h"
#include "app/config.h"
#include "app/daemon_client.h"
#include "app/world.h"

namespace betrace::kms {

// What cannot be had says why in its place; the service need not run. Exit codes: ok when the file
// was written; check_failed when it could not be.
ExitCode run_diagnose(const CommandLine& line, const World& world, const Result<Config>& config,
                      const LocalServiceReader& local);

}  // namespace betrace::kms
