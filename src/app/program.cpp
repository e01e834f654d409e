#include "app/program.h"

#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <ostream>
#include <thread>

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include "betrace/kms/service.h"

#include "app/client_commands.h"
#include "app/command_line.h"
#include "app/config.h"
#include "app/daemon.h"
#include "app/diagnose_command.h"
#include "app/doctor_command.h"
#include "app/hardening.h"
#include "app/store_commands.h"
#include "app/verify_evidence.h"
#include "base/encoding.h"
#include "base/try.h"
#include "net/curl_client.h"
#include "telemetry/version.h"

namespace betrace::kms {
namespace {

ConfigInputs config_inputs(const CommandLine& line, const World& world) {
  auto inputs = ConfigInputs::of_program();
  inputs.overrides = line.definitions;
  inputs.environment = world.environment;
  if (!line.config_file.empty()) inputs.file = line.config_file;
  return inputs;
}

// Each line of a message by itself.
ExitCode complain_lines(const World& world, std::string_view message) {
  while (!message.empty()) {
    const auto end = std::min(message.find('\n'), message.size());
    if (end > 0) complain(world, message.substr(0, end), ExitCode::usage);
    message.remove_prefix(std::min(end + 1, message.size()));
  }
  return ExitCode::usage;
}

void warn(const World& world, const std::vector<std::string>& warnings) {
  for (const auto& warning : warnings) {
    world.err << "betrace-kms: warning: " << printable(warning) << '\n';
  }
}

Result<LocalService> local_service(const CommandLine& line, const World& world,
                                   std::vector<std::string>& warnings) {
  auto inputs = config_inputs(line, world);
  inputs.lenient = true;
  const auto config = TRY(Config::load(inputs));
  warnings = config.warnings();
  const auto token = config.secret("betrace.admin.token");
  return LocalService{
      .host = config.text("quarkus.http.host"),
      .port = static_cast<std::uint16_t>(config.integer("quarkus.http.port")),
      .ssl_port = static_cast<std::uint16_t>(config.integer("quarkus.http.ssl-port")),
      .insecure_allowed = config.text("quarkus.http.insecure-requests") != "disabled",
      .certificate_file = config.text("quarkus.http.ssl.certificate.files"),
      .data_dir = config.text("betrace.kms.data-dir"),
      .admin_token = WipedString(as_text(token.expose()))};
}

ExitCode client_command(const CommandLine& line, const World& world) {
  std::vector<std::string> warnings;
  const auto code =
      run_client_command(line, world, [&] { return local_service(line, world, warnings); });
  // A command that found its way has no business with them; one that did not may have been misled.
  if (code == ExitCode::unreachable) warn(world, warnings);
  return code;
}

ExitCode doctor_command(const CommandLine& line, const World& world) {
  const auto config = Config::load(config_inputs(line, world));
  std::vector<std::string> warnings;
  const auto local = [&] { return local_service(line, world, warnings); };
  return line.command == "doctor" ? run_doctor(line, world, config, local)
                                  : run_diagnose(line, world, config, local);
}

ExitCode show_config(const CommandLine& line, const World& world) {
  const auto config = Config::load(config_inputs(line, world));
  if (!config) return complain_lines(world, config.error().message);
  warn(world, config->warnings());
  world.out << render_config(*config, line.json);
  return ExitCode::ok;
}

ExitCode store_command(const CommandLine& line, const World& world) {
  auto inputs = config_inputs(line, world);
  inputs.lenient = true;
  const auto config = Config::load(inputs);
  if (!config) return complain_lines(world, config.error().message);
  warn(world, config->warnings());
  return run_store_command(line, world, *config);
}

ExitCode show_version(const CommandLine& line, const World& world) {
  if (line.json) {
    world.out << fmt::format("{{\"version\":\"{}\"}}\n", version());
  } else {
    world.out << "betrace-kms " << version() << '\n';
  }
  return ExitCode::ok;
}

ExitCode serve_command(const CommandLine& line, const World& world) {
  harden_process();
  tune_heap();
  const auto config = Config::load(config_inputs(line, world));
  if (!config) return complain_lines(world, config.error().message);
  const auto served = serve(*config, [&] { return Config::load(config_inputs(line, world)); });
  return served ? ExitCode::ok : complain_lines(world, served.error().message);
}

bool reader_has_left(int descriptor) {
  pollfd output{.fd = descriptor, .events = POLLOUT, .revents = 0};
  return poll(&output, 1, 0) == 1 && (output.revents & POLLERR) != 0;
}

// As any tool in a pipe whose reader has left: ended by SIGPIPE, without a word.
[[noreturn]] void end_by_sigpipe() {
  std::signal(SIGPIPE, SIG_DFL);
  std::raise(SIGPIPE);
  std::abort();
}

}  // namespace

ExitCode run_command(std::vector<std::string> arguments, const World& world) {
  auto parsed = parse_command_line(std::move(arguments));
  if (const auto* finished = std::get_if<Finished>(&parsed)) {
    world.out << finished->out;
    world.err << finished->err;
    return finished->code;
  }
  const auto& line = std::get<CommandLine>(parsed);
  if (line.command == "serve") return serve_command(line, world);
  if (line.command == "doctor" || line.command == "diagnose") return doctor_command(line, world);
  if (line.command == "config") return show_config(line, world);
  if (is_store_command(line.command)) return store_command(line, world);
  if (line.command == "verify-evidence") {
    return verify_evidence({.file = line.file,
                            .checkpoint = line.held_checkpoint,
                            .service_key = line.service_key,
                            .log_key = line.log_key,
                            .html = line.html,
                            .json = line.json},
                           world);
  }
  if (line.command == "version") return show_version(line, world);
  if (line.command == "completion") {
    world.out << completion_script(line.shell);
    return ExitCode::ok;
  }
  return client_command(line, world);
}

int run_program(int argc, char** argv) {
  // A peer that hangs up is an error of its socket; a reader of our output that leaves is seen in
  // the stream.
  std::signal(SIGPIPE, SIG_IGN);
  std::ios::sync_with_stdio(false);
  const World world{.in = std::cin,
                    .out = std::cout,
                    .err = std::cerr,
                    .environment = [](std::string_view name) -> std::optional<std::string> {
                      const char* value = std::getenv(std::string(name).c_str());
                      if (value == nullptr) return std::nullopt;
                      return value;
                    },
                    .http_client = make_http_client,
                    .out_is_terminal = isatty(STDOUT_FILENO) == 1,
                    .err_is_terminal = isatty(STDERR_FILENO) == 1,
                    .pause = [](auto duration) { std::this_thread::sleep_for(duration); }};
  ExitCode code = ExitCode::check_failed;
  try {
    code = run_command({argv + std::min(argc, 1), argv + argc}, world);
  } catch (const std::exception& error) {
    code = complain(world, error.what(), ExitCode::check_failed);
  }
  std::cout.flush();
  if (!std::cout) {
    if (reader_has_left(STDOUT_FILENO)) end_by_sigpipe();
    return static_cast<int>(
        complain(world, "cannot write to standard output", ExitCode::check_failed));
  }
  return static_cast<int>(code);
}

}  // namespace betrace::kms
