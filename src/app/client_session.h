// What the client commands share: one request and its answer as JSON, or the reason on standard
// error and the exit code. Included by client_*.cpp only, for the sake of the JSON library.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include <boost/json.hpp>

#include "app/command_line.h"
#include "app/daemon_client.h"
#include "app/world.h"

namespace betrace::kms {

// A value, or the exit code of a program that has said why.
template <class T>
using Got = std::expected<T, ExitCode>;

class ClientSession {
 public:
  ClientSession(const CommandLine& line, const World& world, DaemonClient client)
      : line(line), world(world), client_(std::move(client)) {}

  const CommandLine& line;
  const World& world;

  // The answer to a request; what is no success has been reported and is an exit code.
  Got<HttpAnswer> ask(std::string_view method, const std::string& path, WipedString body = {},
                      std::string_view accept = "application/json") const;
  // Any answer, for commands to which a refusal is a finding.
  Got<HttpAnswer> ask_any(std::string_view method, const std::string& path) const;
  // The answer's JSON object.
  Got<boost::json::object> object(const HttpAnswer& answer) const;
  // Reports an answer that is a problem.
  ExitCode refused(const HttpAnswer& answer) const;
  // The answer's body and a line end.
  ExitCode print(const HttpAnswer& answer) const;
  // "/api/tenants/ID" + rest.
  Got<std::string> tenant_path(std::string_view rest) const;

 private:
  DaemonClient client_;
};

// The member as text: strings as they are, made fit for a terminal, all else as JSON; "" when
// absent.
std::string text_of(const boost::json::object& object, std::string_view name);

// The member as a number; 0 when it is none.
std::uint64_t number_of(const boost::json::object& object, std::string_view name);
bool flag_of(const boost::json::object& object, std::string_view name);

// A line for each key of a tenant: type, version, status, id, when it was made.
void print_keys(const World& world, const boost::json::object& tenant);

Got<ExitCode> run_service_command(const ClientSession& session);
Got<ExitCode> run_tenant_command(const ClientSession& session);
Got<ExitCode> run_key_command(const ClientSession& session);
Got<ExitCode> run_lifecycle_command(const ClientSession& session);
Got<ExitCode> run_rotation_command(const ClientSession& session);
Got<ExitCode> run_migration_command(const ClientSession& session);
Got<ExitCode> run_evidence_command(const ClientSession& session);

}  // namespace betrace::kms
