// tenants list, tenants create and tenants show.
#include <ostream>

#include <fmt/format.h>

#include "app/client_session.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

namespace json = boost::json;

constexpr std::uint32_t page_items_max = 1000;

// Page after page, so that a million tenants need no more memory than a thousand.
Got<ExitCode> list(const ClientSession& session) {
  auto& out = session.world.out;
  const auto& line = session.line;
  auto left = line.limit.value_or(std::numeric_limits<std::uint32_t>::max());
  std::string after = line.after;
  if (line.json) out << "{\"tenants\":[";
  for (bool first = true; left > 0 && out.good();) {
    auto path = fmt::format("/api/tenants?limit={}", std::min(left, page_items_max));
    if (!after.empty()) path += "&after=" + percent_encode(after);
    const auto answer = TRY(session.ask("GET", path));
    const auto page = TRY(session.object(answer));
    const auto* tenants = page.if_contains("tenants");
    if (tenants == nullptr || !tenants->is_array()) break;
    for (const auto& tenant : tenants->get_array()) {
      if (line.json) {
        out << (first ? "" : ",") << json::serialize(tenant);
      } else if (const auto* object = tenant.if_object()) {
        out << text_of(*object, "tenantId") << '\n';
      }
      first = false;
    }
    left -= std::min<std::uint32_t>(left, tenants->get_array().size());
    after = text_of(page, "next");
    if (after.empty() || after == "null") break;
  }
  if (line.json) out << "]}\n";
  return ExitCode::ok;
}

Got<ExitCode> create(const ClientSession& session) {
  const auto answer = TRY(session.ask("PUT", TRY(session.tenant_path(""))));
  if (session.line.json) return session.print(answer);
  const auto tenant = TRY(session.object(answer));
  session.world.out << fmt::format("{} {}\n", session.line.tenant,
                                   answer.status == 201 ? "created" : "exists already");
  print_keys(session.world, tenant);
  return ExitCode::ok;
}

Got<ExitCode> show(const ClientSession& session) {
  const auto answer = TRY(session.ask("GET", TRY(session.tenant_path(""))));
  if (session.line.json) return session.print(answer);
  const auto tenant = TRY(session.object(answer));
  session.world.out << fmt::format("{} created {}\n", session.line.tenant,
                                   text_of(tenant, "createdAt"));
  print_keys(session.world, tenant);
  return ExitCode::ok;
}

}  // namespace

Got<ExitCode> run_tenant_command(const ClientSession& session) {
  if (session.line.command == "tenants list") return list(session);
  return session.line.command == "tenants create" ? create(session) : show(session);
}

}  // namespace betrace::kms
