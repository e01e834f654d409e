// migrate: keys move to the current master key while the service goes on.
#include <algorithm>
#include <ostream>

#include <fmt/format.h>

#include "app/client_session.h"
#include "app/progress.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

constexpr const char* status_path = "/api/admin/kms/migration-status";

std::string progress_line(const json::object& run) {
  const auto failed = number_of(run, "failed");
  auto text = progress_bar(number_of(run, "moved") + failed, number_of(run, "total")) + " keys";
  if (failed > 0) text += fmt::format(", {} failed", failed);
  return text;
}

void print_holders(const json::object& state, std::ostream& out) {
  const auto* const holders = state.if_contains("wrappings");
  if (holders == nullptr || !holders->is_array()) return;
  for (const auto& each : holders->get_array()) {
    if (!each.is_object()) continue;
    const auto& holder = each.get_object();
    out << fmt::format("{:>8} keys under {} {}{}\n", number_of(holder, "keys"),
                       printable(text_of(holder, "provider")),
                       printable(text_of(holder, "master_key_id")),
                       flag_of(holder, "readable") ? "" : "  (no configured provider opens them)");
  }
}

Got<ExitCode> dry_run(const ClientSession& session) {
  const auto answer = TRY(session.ask("GET", status_path));
  if (session.line.json) return session.print(answer);
  print_holders(TRY(session.object(answer)), session.world.out);
  session.world.err << "nothing was changed\n";
  return ExitCode::ok;
}

ExitCode report(const ClientSession& session, const HttpAnswer& answer, const json::object& run) {
  const auto failed = number_of(run, "failed");
  const auto status = text_of(run, "status");
  if (session.line.json) {
    session.print(answer);
  } else {
    session.world.out << fmt::format("{}: {} of {} keys moved to {} {}, {} failed\n",
                                     status == "COMPLETE" ? "complete" : printable(status),
                                     number_of(run, "moved"), number_of(run, "total"),
                                     printable(text_of(run, "provider")),
                                     printable(text_of(run, "master_key_id")), failed);
  }
  const auto* const failures = run.if_contains("failures");
  if (failures != nullptr && failures->is_array()) {
    for (const auto& each : failures->get_array()) {
      if (!each.is_object()) continue;
      session.world.err << fmt::format("{}: {}\n", text_of(each.get_object(), "tenantId"),
                                       text_of(each.get_object(), "error"));
    }
  }
  return failed > 0 || status != "COMPLETE" ? ExitCode::check_failed : ExitCode::ok;
}

}  // namespace

Got<ExitCode> run_migration_command(const ClientSession& session) {
  if (session.line.dry_run) return dry_run(session);
  auto answer = TRY(session.ask("POST", "/api/admin/kms/migrate"));
  auto run = TRY(session.object(answer));
  if (session.line.no_wait) {
    if (session.line.json) return session.print(answer);
    session.world.out << fmt::format("begun: {} keys\n", number_of(run, "total"));
    return ExitCode::ok;
  }
  Progress progress(session.world);
  const auto id = text_of(run, "run_id");
  auto wait = milliseconds(100);
  while (text_of(run, "status") == "RUNNING" && text_of(run, "run_id") == id) {
    progress.draw(progress_line(run));
    session.world.pause(wait);
    wait = std::min(wait * 2, milliseconds(1000));
    auto now = session.ask("GET", status_path);
    if (!now) {
      progress.end();
      session.world.err << "the migration goes on in the service: betrace-kms migrate does not "
                           "stop it by ending\n";
      return std::unexpected(now.error());
    }
    answer = *std::move(now);
    run = TRY(session.object(answer));
  }
  progress.draw(progress_line(run));
  progress.end();
  return report(session, answer, run);
}

}  // namespace betrace::kms
