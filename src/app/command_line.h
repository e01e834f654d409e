// The words after `betrace-kms`, checked and sorted into one struct. The only header that the
// commands need of the command line; the library that parses stays in command_line.cpp.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "betrace/kms/key.h"

#include "app/world.h"

namespace betrace::kms {

// Where the daemon is, as far as the command line says.
struct ConnectionOptions {
  std::string url;
  std::string token_file;
  std::string ca_file;
  std::optional<unsigned> timeout_seconds;  // else as the command needs
};

struct CommandLine {
  std::string command;  // "sign", "tenants list"
  std::string config_file;
  std::map<std::string, std::string> definitions;  // -Dname=value
  ConnectionOptions connection;
  bool json = false;
  bool raw = false;
  bool base64 = false;
  bool pem = false;
  bool jwks = false;
  std::string group;  // of health: empty, "live", "ready", "started", "serving"
  std::string tenant;
  std::string file = "-";
  std::string signature;  // base64, or @FILE
  std::string key_id;
  std::optional<std::uint32_t> version;
  EncryptionContext context;
  std::string key_type;  // "signing", "encryption"
  std::string reason;
  std::string confirm;      // of tenants destroy: the tenant's name again
  std::string certificate;  // of tenants destroy: the file that it goes into
  bool unused = false;
  bool yes = false;
  bool allow_revoked = false;
  bool all = false;
  bool force = false;
  bool dry_run = false;
  bool accept_rollback = false;
  bool no_wait = false;
  std::optional<std::uint32_t> stagger_ms;
  std::string from, to;  // of rotation-report
  std::string format;    // "json", "csv", "pdf"
  std::string output = "-";
  std::string held_checkpoint, service_key, log_key, html;  // of evidence commands
  std::string bundle;  // of diagnose: the new file; empty: named after the time
  std::string after;   // of tenants list
  std::optional<std::uint32_t> limit;
  std::string shell;
};

// The program ends here: help that was asked for, or a mistake.
struct Finished {
  ExitCode code = ExitCode::ok;
  std::string out;
  std::string err;
};

// `arguments` without the program's name.
std::variant<CommandLine, Finished> parse_command_line(std::vector<std::string> arguments);

// A script for `shell` ("bash", "zsh", "fish") that knows every command and option there is.
std::string completion_script(const std::string& shell);

}  // namespace betrace::kms
