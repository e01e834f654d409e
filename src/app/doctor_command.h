// The command `doctor`: reads the configuration, asks the provider itself and live, and the service
// for what only that knows.
#pragma once

#include <memory>
#include <string>

#include "app/command_line.h"
#include "app/config.h"
#include "app/daemon_client.h"
#include "app/http_observer.h"
#include "app/world.h"
#include "core/doctor_facts.h"

namespace betrace::kms {

struct Examination {
  struct Live {
    std::unique_ptr<HttpObserver> http;
    std::unique_ptr<Provider> provider;
  };
  Live live;  // the facts point to what it owns
  DoctorFacts facts;
  DoctorReport report;
};
// Blocks while the provider and the service are asked, each call at most 5 s.
Examination examine(const CommandLine& line, const World& world, const Result<Config>& config,
                    const LocalServiceReader& local);
// As the command prints it.
std::string doctor_text(const Examination& examination, bool json);

// Exit codes: ok when nothing is critical or a warning; check_failed; usage when the configuration
// cannot be used, which is a finding as well. A service that does not answer is a finding.
ExitCode run_doctor(const CommandLine& line, const World& world, const Result<Config>& config,
                    const LocalServiceReader& local);

}  // namespace betrace::kms
