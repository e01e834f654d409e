// The program behind its command line: from the arguments to the exit code.
#pragma once

#include <string>
#include <vector>

#include "app/world.h"

namespace betrace::kms {

// `arguments` without the program's name.
ExitCode run_command(std::vector<std::string> arguments, const World& world);

}  // namespace betrace::kms
