// A client command with everything around it faked.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "app/client_commands.h"
#include "fake_world.h"
#include "support/temporary_directory.h"

namespace betrace::kms {

class ClientCommands : public testing::Test {
 protected:
  ClientCommands() {
    world_.variables["ADMIN_TOKEN"] = "token";
    world_.variables["BETRACE_KMS_URL"] = "http://localhost:1";
  }

  ExitCode run(std::vector<std::string> arguments) {
    auto parsed = parse_command_line(std::move(arguments));
    if (auto* finished = std::get_if<Finished>(&parsed)) {
      ADD_FAILURE() << finished->err;
      return finished->code;
    }
    return run_client_command(std::get<CommandLine>(parsed), world_.world(),
                              [] { return LocalService{}; });
  }
  std::string out() const { return world_.out.str(); }
  std::string err() const { return world_.err.str(); }
  const HttpCall& call() const { return world_.calls.at(0); }

  TemporaryDirectory directory_;
  FakeWorld world_;
};

}  // namespace betrace::kms
