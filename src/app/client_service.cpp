// status, health and validate.
#include <ostream>

#include <fmt/format.h>

#include "app/client_session.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

namespace json = boost::json;

// Members one a line, those of objects under their own name: "cache.hits  3".
void print_members(const World& world, const json::object& object, const std::string& prefix) {
  for (const auto& [name, value] : object) {
    const auto key = prefix + printable(name);
    if (const auto* below = value.if_object()) {
      print_members(world, *below, key + ".");
    } else if (const auto* list = value.if_array()) {
      if (list->empty()) world.out << fmt::format("{:<36} none\n", key);
      for (const auto& item : *list) {
        const auto* text = item.if_string();
        world.out << fmt::format("{:<36} {}\n", key,
                                 text ? printable(*text) : json::serialize(item));
      }
    } else {
      world.out << fmt::format("{:<36} {}\n", key, text_of(object, name));
    }
  }
}

Got<ExitCode> status(const ClientSession& session) {
  const auto answer = TRY(session.ask("GET", "/api/admin/kms/status"));
  const auto report = TRY(session.object(answer));
  if (session.line.json) {
    session.print(answer);
  } else {
    print_members(session.world, report, "");
  }
  return text_of(report, "status") == "DOWN" ? ExitCode::check_failed : ExitCode::ok;
}

std::string health_path(const std::string& group) {
  if (group.empty()) return "/q/health";
  return (group == "serving" ? "/q/health/group/" : "/q/health/") + group;
}

Got<ExitCode> health(const ClientSession& session) {
  const auto answer = TRY(session.ask_any("GET", health_path(session.line.group)));
  if (answer.status != 200 && answer.status != 503) {
    return std::unexpected(session.refused(answer));
  }
  const auto report = TRY(session.object(answer));
  const auto state = text_of(report, "status");
  // An overloaded proxy answers 503 as well.
  if (state.empty()) return std::unexpected(session.refused(answer));
  if (session.line.json) {
    session.print(answer);
  } else {
    auto& out = session.world.out;
    out << state << '\n';
    const auto* checks = report.if_contains("checks");
    if (checks != nullptr && checks->is_array()) {
      for (const auto& each : checks->get_array()) {
        const auto* check = each.if_object();
        if (check == nullptr) continue;
        out << fmt::format("{:<8} {:<5}", text_of(*check, "name"), text_of(*check, "status"));
        const auto* data = check->if_contains("data");
        if (data != nullptr && data->is_object()) {
          for (const auto& [name, value] : data->get_object()) {
            out << fmt::format(" {}={}", printable(name), text_of(data->get_object(), name));
          }
        }
        out << '\n';
      }
    }
  }
  return state == "UP" ? ExitCode::ok : ExitCode::check_failed;
}

// "key_retrieval_cache_hit" is timed as "cache_hit".
std::string latency_name(std::string_view test) {
  constexpr std::string_view prefix = "key_retrieval_";
  return std::string(test.starts_with(prefix) ? test.substr(prefix.size()) : test);
}

Got<ExitCode> validate(const ClientSession& session) {
  const auto answer = TRY(session.ask("POST", "/api/admin/kms/validate"));
  const auto report = TRY(session.object(answer));
  const auto overall = text_of(report, "overall");
  if (session.line.json) {
    session.print(answer);
  } else {
    auto& out = session.world.out;
    out << fmt::format("{:<36} {}\n", "provider", text_of(report, "provider"));
    const auto* tests = report.if_contains("tests");
    const auto* latencies = report.if_contains("latency_ms");
    if (tests != nullptr && tests->is_object()) {
      for (const auto& [name, value] : tests->get_object()) {
        std::string took;
        if (latencies != nullptr && latencies->is_object()) {
          took = text_of(latencies->get_object(), latency_name(name));
        }
        out << fmt::format("{:<36} {}{}\n", printable(name), text_of(tests->get_object(), name),
                           took.empty() ? "" : " (" + took + " ms)");
      }
    }
    out << fmt::format("{:<36} {}\n", "overall", overall);
    const auto* advice = report.if_contains("recommendations");
    if (advice != nullptr && advice->is_array()) {
      for (const auto& each : advice->get_array()) {
        if (each.is_string()) out << "- " << printable(each.get_string()) << '\n';
      }
    }
  }
  return overall == "PASS" ? ExitCode::ok : ExitCode::check_failed;
}

}  // namespace

Got<ExitCode> run_service_command(const ClientSession& session) {
  if (session.line.command == "status") return status(session);
  return session.line.command == "health" ? health(session) : validate(session);
}

}  // namespace betrace::kms
