// betrace-verify-evidence: verify-evidence as a program of its own, linked statically, for a
// machine that has nothing else.
#include <iostream>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <unistd.h>

#include "app/verify_evidence.h"
#include "telemetry/version.h"

namespace {

int run(int argc, char** argv) {
  using namespace betrace::kms;
  VerifyEvidenceOptions options;
  CLI::App app(
      "Verify a bundle of evidence without service, store or network.\n"
      "Exit codes: 0 all of it verifies, 1 something does not, 2 usage or an unreadable file.",
      "betrace-verify-evidence");
  app.set_version_flag("--version", "betrace-verify-evidence " + std::string(version()));
  app.add_option("file", options.file, "The bundle")->required();
  app.add_option("--checkpoint", options.checkpoint, "One that you kept, a file");
  app.add_option("--service-key", options.service_key, "The service's key: base64, or @FILE");
  app.add_option("--log-key", options.log_key, "The log's key: name+hash+base64, or @FILE");
  app.add_option("--html", options.html, "Write the report as a page, too");
  app.add_flag("--json", options.json, "Print the report as JSON");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::usage);
  }
  const World world{.in = std::cin,
                    .out = std::cout,
                    .err = std::cerr,
                    .environment = {},
                    .http_client = {},
                    .out_is_terminal = isatty(STDOUT_FILENO) == 1,
                    .err_is_terminal = isatty(STDERR_FILENO) == 1,
                    .pause = {},
                    .program = "betrace-verify-evidence"};
  return static_cast<int>(verify_evidence(options, world));
}

}  // namespace

int main(int argc, char** argv) { return run(argc, argv); }
