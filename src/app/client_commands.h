// The commands that ask a running service: status, health, validate, tenants, keys, sign, verify,
// encrypt, decrypt, rewrap, revoke, rotate, rotation-report, public-keys. Results go to
// `world.out`, one line of trouble to `world.err`.
#pragma once

#include "app/command_line.h"
#include "app/daemon_client.h"
#include "app/world.h"

namespace betrace::kms {

ExitCode run_client_command(const CommandLine& line, const World& world,
                            const LocalServiceReader& local);

}  // namespace betrace::kms
