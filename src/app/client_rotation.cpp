// rotate, of one tenant or of all, and rotation-report.
#include <cerrno>
#include <fstream>
#include <functional>
#include <ostream>
#include <system_error>

#include <fmt/format.h>

#include "app/client_session.h"
#include "app/progress.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

std::unexpected<ExitCode> mistake(const ClientSession& session, std::string_view message) {
  return std::unexpected(complain(session.world, message, ExitCode::usage));
}

// --- one tenant ----------------------------------------------------------------------------------

Got<ExitCode> rotate_one(const ClientSession& session) {
  const auto answer = TRY(session.ask("POST", TRY(session.tenant_path("/rotate"))));
  if (session.line.json) return session.print(answer);
  const auto object = TRY(session.object(answer));
  const auto* keys = object.if_contains("keys");
  if (keys != nullptr && keys->is_array()) {
    for (const auto& each : keys->get_array()) {
      const auto* key = each.if_object();
      if (key == nullptr) continue;
      session.world.out << fmt::format("{:<11} version {}  {}\n", text_of(*key, "keyType"),
                                       text_of(*key, "version"), text_of(*key, "keyId"));
    }
  }
  return ExitCode::ok;
}

// --- what would be rotated
// ------------------------------------------------------------------------

// Calls `each` with the items of all pages of a list.
Got<std::uint64_t> for_each_item(const ClientSession& session, const std::string& path,
                                 const std::function<void(const json::object&)>& each) {
  std::uint64_t found = 0;
  std::string after;
  do {
    const auto answer = TRY(session.ask(
        "GET", path + "?limit=1000" + (after.empty() ? "" : "&after=" + percent_encode(after))));
    const auto page = TRY(session.object(answer));
    const auto* items = page.if_contains("tenants");
    if (items == nullptr || !items->is_array()) break;
    for (const auto& item : items->get_array()) {
      if (!item.is_object() || flag_of(item.get_object(), "destroyed")) continue;
      each(item.get_object());
      ++found;
    }
    after = text_of(page, "next");
  } while (!after.empty() && after != "null" && session.world.out.good());
  return found;
}

// With --force that is every tenant; else the keys that are due.
Got<ExitCode> dry_run(const ClientSession& session) {
  const auto& line = session.line;
  auto& out = session.world.out;
  bool first = true;
  const auto print = [&](const json::object& item) {
    if (line.json) {
      out << (first ? "" : ",") << json::serialize(item);
    } else if (line.force) {
      out << text_of(item, "tenantId") << '\n';
    } else {
      out << fmt::format("{}  {:<11} {}  {} ({} days)\n", text_of(item, "tenantId"),
                         text_of(item, "keyType"), text_of(item, "keyId"),
                         text_of(item, "createdAt"), text_of(item, "ageDays"));
    }
    first = false;
  };
  if (line.json) out << "{\"tenants\":[";
  const auto found = TRY(for_each_item(
      session, line.force ? "/api/tenants" : "/api/admin/kms/tenants-needing-rotation", print));
  if (line.json) {
    out << "]}\n";
  } else {
    session.world.err << fmt::format("{} {}; nothing was changed\n", found,
                                     line.force ? "tenants would be rotated" : "keys are due");
  }
  return ExitCode::ok;
}

// --- all tenants ---------------------------------------------------------------------------------

std::string progress_line(const json::object& run) {
  const auto failed = number_of(run, "failed");
  const auto done = number_of(run, "rotated") + failed;
  auto text = progress_bar(done, number_of(run, "total_tenants")) + " tenants";
  if (failed > 0) text += fmt::format(", {} failed", failed);
  const auto end = text_of(run, "estimated_completion");
  if (end.size() > 19) text += fmt::format(", ready about {} UTC", end.substr(11, 8));
  return text;
}

struct FollowedRun {
  HttpAnswer answer;
  json::object run;
};

// The run `run` as it ends; a later one in its place is the same answer: ours is over.
Got<FollowedRun> follow(const ClientSession& session, FollowedRun now) {
  Progress progress(session.world);
  const auto id = text_of(now.run, "run_id");
  auto wait = milliseconds(200);
  while (text_of(now.run, "status") == "RUNNING" && text_of(now.run, "run_id") == id) {
    progress.draw(progress_line(now.run));
    session.world.pause(wait);
    wait = std::min(wait * 2, milliseconds(1000));
    auto answer = session.ask("GET", "/api/admin/kms/rotation-status");
    if (!answer) {
      progress.end();
      session.world.err << "the rotation goes on in the service: betrace-kms rotate does not stop "
                           "it by ending\n";
      return std::unexpected(answer.error());
    }
    now.answer = *std::move(answer);
    now.run = TRY(session.object(now.answer));
  }
  progress.draw(progress_line(now.run));
  return now;
}

ExitCode report(const ClientSession& session, const FollowedRun& ended) {
  const auto& run = ended.run;
  const auto failed = number_of(run, "failed");
  const auto status = text_of(run, "status");
  if (session.line.json) {
    session.print(ended.answer);
  } else {
    session.world.out << fmt::format(
        "{}: {} of {} tenants rotated ({} signing keys, {} encryption keys), {} failed\n",
        status == "COMPLETE" ? "complete" : printable(status), number_of(run, "rotated"),
        number_of(run, "total_tenants"), number_of(run, "signing_keys"),
        number_of(run, "encryption_keys"), failed);
  }
  const auto* failures = run.if_contains("failures");
  if (failures != nullptr && failures->is_array()) {
    for (const auto& each : failures->get_array()) {
      if (!each.is_object()) continue;
      const auto& failure = each.get_object();
      session.world.err << fmt::format("{}: {}\n", text_of(failure, "tenantId"),
                                       text_of(failure, "error"));
    }
  }
  return failed > 0 || status != "COMPLETE" ? ExitCode::check_failed : ExitCode::ok;
}

Got<ExitCode> rotate_all(const ClientSession& session) {
  const auto& line = session.line;
  if (line.dry_run) return dry_run(session);
  auto body = fmt::format("{{\"force\":{}", line.force);
  if (line.stagger_ms) body += fmt::format(",\"stagger_ms\":{}", *line.stagger_ms);
  FollowedRun run;
  run.answer = TRY(session.ask("POST", "/api/admin/kms/rotate-all-keys", WipedString(body + "}")));
  run.run = TRY(session.object(run.answer));
  if (line.no_wait) {
    if (line.json) return session.print(run.answer);
    session.world.out << fmt::format("begun: {} tenants (run {})\n",
                                     number_of(run.run, "total_tenants"),
                                     text_of(run.run, "run_id"));
    return ExitCode::ok;
  }
  return report(session, TRY(follow(session, std::move(run))));
}

Got<ExitCode> rotate(const ClientSession& session) {
  const auto& line = session.line;
  if (line.all) return rotate_all(session);
  if (line.tenant.empty()) {
    return mistake(session, "which tenant? Give --tenant ID, or --all for every one that is due");
  }
  if (line.force || line.dry_run || line.no_wait || line.stagger_ms) {
    return mistake(session, "--force, --stagger-ms, --dry-run and --no-wait go with --all");
  }
  return rotate_one(session);
}

// --- report
// ---------------------------------------------------------------------------------------

struct Format {
  std::string_view name, type;
};
constexpr Format formats[] = {
    {"pdf", "application/pdf"}, {"json", "application/json"}, {"csv", "text/csv"}};

// As it is asked for, else by the ending of the file, else PDF.
const Format& format_of(const CommandLine& line) {
  for (const auto& format : formats) {
    if (line.json ? format.name == "json" : format.name == line.format) return format;
  }
  for (const auto& format : formats) {
    if (line.output.ends_with("." + std::string(format.name))) return format;
  }
  return formats[0];
}

Got<ExitCode> rotation_report(const ClientSession& session) {
  const auto& line = session.line;
  const auto& format = format_of(line);
  const bool to_file = line.output != "-";
  if (!to_file && format.name == "pdf" && session.world.out_is_terminal) {
    return mistake(session, "a PDF is nothing for a terminal: give -o FILE, or --format");
  }
  std::string path = "/api/admin/compliance/rotation-report";
  if (!line.from.empty()) path += "?start_date=" + percent_encode(line.from);
  if (!line.to.empty()) {
    path += (line.from.empty() ? "?end_date=" : "&end_date=") + percent_encode(line.to);
  }
  const auto answer = TRY(session.ask("GET", path, {}, format.type));
  if (!to_file) {
    session.world.out << std::string_view(answer.body);
    if (format.name == "json") session.world.out << '\n';
    return ExitCode::ok;
  }
  std::ofstream out(line.output, std::ios::binary | std::ios::trunc);
  out << std::string_view(answer.body);
  out.close();
  if (out) return ExitCode::ok;
  return mistake(session, fmt::format("cannot write {}: {}", line.output,
                                      std::generic_category().message(errno)));
}

}  // namespace

Got<ExitCode> run_rotation_command(const ClientSession& session) {
  return session.line.command == "rotate" ? rotate(session) : rotation_report(session);
}

}  // namespace betrace::kms
