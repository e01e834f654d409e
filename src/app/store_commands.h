// The commands that read the store's file themselves, whether a service runs or not: backup,
// restore, check. Results go to `world.out`, one line of trouble to `world.err`.
#pragma once

#include <string_view>

#include "app/command_line.h"
#include "app/config.h"
#include "app/world.h"

namespace betrace::kms {

bool is_store_command(std::string_view name);
ExitCode run_store_command(const CommandLine& line, const World& world, const Config& config);

}  // namespace betrace::kms
