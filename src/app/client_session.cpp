#include "app/client_session.h"

#include <ostream>

#include <fmt/format.h>

#include "betrace/kms/tenant.h"

#include "app/client_commands.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

namespace json = boost::json;

// A code that a newer service knows and this program does not counts as a failed check.
ExitCode exit_code_of(std::string_view code) {
  for (int each = 0; each <= static_cast<int>(ErrorCode::store_unavailable); ++each) {
    if (to_string(static_cast<ErrorCode>(each)) == code) {
      return exit_code_of(static_cast<ErrorCode>(each));
    }
  }
  return ExitCode::check_failed;
}

// What every daemon on the store acknowledges may take as long as the lease of one that is cut off.
std::chrono::seconds time_limit(const CommandLine& line) {
  const auto& command = line.command;
  const bool waits_for_lease =
      command == "revoke" || command == "keys destroy" || command == "tenants destroy";
  return std::chrono::seconds(line.connection.timeout_seconds.value_or(waits_for_lease ? 150 : 30));
}

// Which file has the command.
Got<ExitCode> dispatch(const ClientSession& session) {
  const auto& command = session.line.command;
  if (command == "status" || command == "health" || command == "validate") {
    return run_service_command(session);
  }
  if (command == "revoke" || command.starts_with("keys ") || command == "tenants destroy") {
    return run_lifecycle_command(session);
  }
  if (command == "migrate") return run_migration_command(session);
  if (command.starts_with("evidence ")) return run_evidence_command(session);
  if (command == "rotate" || command == "rotation-report") return run_rotation_command(session);
  return command.starts_with("tenants ") ? run_tenant_command(session) : run_key_command(session);
}

json::value parsed(const HttpAnswer& answer) {
  boost::system::error_code error;
  auto value = json::parse({answer.body.data(), answer.body.size()}, error);
  return error ? json::value() : value;
}

}  // namespace

std::string text_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr) return {};
  if (value->is_string()) return printable(value->get_string());
  return value->is_double() ? fmt::format("{}", value->get_double()) : json::serialize(*value);
}

std::uint64_t number_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr || !value->is_int64() || value->get_int64() < 0) return 0;
  return static_cast<std::uint64_t>(value->get_int64());
}

bool flag_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value != nullptr && value->is_bool() && value->get_bool();
}

void print_keys(const World& world, const json::object& tenant) {
  const auto* keys = tenant.if_contains("keys");
  if (keys == nullptr || !keys->is_array()) return;
  for (const auto& each : keys->get_array()) {
    const auto* key = each.if_object();
    if (key == nullptr) continue;
    const auto reason = text_of(*key, "reason");
    world.out << fmt::format("{:<11} {:<3} {:<10} {}  {}{}\n", text_of(*key, "keyType"),
                             text_of(*key, "version"), text_of(*key, "status"),
                             text_of(*key, "keyId"), text_of(*key, "createdAt"),
                             reason.empty() ? "" : "  (" + reason + ")");
  }
}

Got<HttpAnswer> ClientSession::ask_any(std::string_view method, const std::string& path) const {
  auto answer = client_.send(method, path);
  if (answer) return *std::move(answer);
  return std::unexpected(complain(world, answer.error().message, ExitCode::unreachable));
}

Got<HttpAnswer> ClientSession::ask(std::string_view method, const std::string& path,
                                   WipedString body, std::string_view accept) const {
  auto answer = client_.send(method, path, std::move(body), accept);
  if (!answer) {
    return std::unexpected(complain(world, answer.error().message, ExitCode::unreachable));
  }
  if (answer->status / 100 != 2) return std::unexpected(refused(*answer));
  return *std::move(answer);
}

Got<json::object> ClientSession::object(const HttpAnswer& answer) const {
  auto value = parsed(answer);
  if (value.is_object()) return std::move(value.get_object());
  return std::unexpected(
      complain(world,
               fmt::format("{} answered {} without a JSON object: it is not a BeTrace KMS",
                           client_.connection().url, answer.status),
               ExitCode::unreachable));
}

ExitCode ClientSession::refused(const HttpAnswer& answer) const {
  const auto value = parsed(answer);
  const auto* problem = value.if_object();
  if (problem == nullptr || !problem->contains("code")) {
    return complain(
        world,
        fmt::format("{} answered {} without a problem document: it is not a BeTrace KMS",
                    client_.connection().url, answer.status),
        ExitCode::unreachable);
  }
  const auto code = text_of(*problem, "code");
  auto detail = text_of(*problem, "detail");
  if (detail.empty()) detail = text_of(*problem, "title");
  auto message = fmt::format("{} ({})", detail, code);
  if (code == to_string(ErrorCode::tenant_not_found)) {
    message += "; or: betrace-kms tenants create " + line.tenant;
  }
  const auto& trouble = client_.connection().token_trouble;
  if (answer.status == 401 && !trouble.empty()) message += "; no token was sent: " + trouble;
  return complain(world, message, exit_code_of(code));
}

ExitCode ClientSession::print(const HttpAnswer& answer) const {
  world.out << std::string_view(answer.body);
  if (!answer.body.ends_with('\n')) world.out << '\n';
  return ExitCode::ok;
}

Got<std::string> ClientSession::tenant_path(std::string_view rest) const {
  const auto tenant = TenantId::parse(line.tenant);
  if (!tenant) return std::unexpected(complain(world, tenant.error().message, ExitCode::usage));
  return fmt::format("/api/tenants/{}{}", percent_encode(tenant->str()), rest);
}

ExitCode run_client_command(const CommandLine& line, const World& world,
                            const LocalServiceReader& local) {
  auto connection = find_service(line.connection, world, local);
  if (!connection) return complain(world, connection.error().message, ExitCode::usage);
  const ClientSession session(
      line, world, DaemonClient(*std::move(connection), world.http_client(), time_limit(line)));
  const auto ended = dispatch(session);
  return ended ? *ended : ended.error();
}

}  // namespace betrace::kms
