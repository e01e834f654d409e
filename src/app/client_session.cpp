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

Got<HttpAnswer> ClientSession::ask_any(std::string_view method, const std::string& path) const {
  auto answer = client_.send(method, path);
  if (answer) return *std::move(answer);
  return std::unexpected(complain(world, answer.error().message, ExitCode::unreachable));
}

Got<HttpAnswer> ClientSession::ask(std::string_view method, const std::string& path,
                                   WipedString body) const {
  auto answer = client_.send(method, path, std::move(body));
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
  const ClientSession session(line, world,
                              DaemonClient(*std::move(connection), world.http_client(),
                                           std::chrono::seconds(line.connection.timeout_seconds)));
  const auto& command = line.command;
  const bool service = command == "status" || command == "health" || command == "validate";
  const auto ended = service                           ? run_service_command(session)
                     : command.starts_with("tenants ") ? run_tenant_command(session)
                                                       : run_key_command(session);
  return ended ? *ended : ended.error();
}

}  // namespace betrace::kms
