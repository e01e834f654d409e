#include "evidence/bundle_report.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/json_note.h"

namespace betrace::kms {
namespace {

using Held = BundleReport::Held;

std::string_view held_text(Held held) {
  switch (held) {
    case Held::none:
      return "none given";
    case Held::consistent:
      return "consistent: nothing before it was changed, dropped, inserted or reordered";
    case Held::contradicted:
      return "CONTRADICTED";
    case Held::unproven:
      return "not linked to this bundle";
  }
  return "";
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : without_controls(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string period_text(const BundleReport& report) {
  if (report.from.empty() && report.to.empty()) return "all of the log";
  return fmt::format("{} to {}",
                     report.from.empty() ? "the beginning" : without_controls(report.from),
                     report.to.empty() ? "the end" : without_controls(report.to));
}

std::string leaves_text(const BundleReport& report) {
  if (report.begin == report.end) {
    return fmt::format("none of a log of {}", report.checkpoint.size);
  }
  return fmt::format("{} to {} of a log of {}", report.begin, report.end - 1,
                     report.checkpoint.size);
}

std::string verdict_text(const BundleReport& report) {
  if (report.valid() && report.spans == 0) return "VERIFIED, and EMPTY: it has no spans";
  if (report.valid()) {
    return fmt::format("VERIFIED: {}, and that none of these leaves is missing",
                       report.spans == 1 ? "the one span" : "all " + counted(report.spans, "span"));
  }
  return fmt::format("NOT VERIFIED: {}; {} of {} verify", counted(report.problem_count, "problem"),
                     report.valid_spans, counted(report.spans, "span"));
}

std::string problem_text(const BundleReport::Problem& problem) {
  if (!problem.leaf) return without_controls(problem.message);
  return fmt::format("leaf {}: {}", *problem.leaf, without_controls(problem.message));
}

// Name and value, as both reports for people show them.
std::vector<std::pair<std::string, std::string>> facts_of(const BundleReport& report) {
  std::vector<std::pair<std::string, std::string>> facts{
      {"Tenant", without_controls(report.tenant)},
      {"Period", period_text(report)},
      {"Leaves", leaves_text(report)},
      {"Checkpoint", fmt::format("{} of {}", without_controls(report.checkpoint.origin),
                                 rfc3339(report.checkpoint.time))},
      {"Your checkpoint", std::string(held_text(report.held))},
      {"Exported", without_controls(report.created_at)},
      {"Service key", report.service_key + (report.service_key_pinned ? "  (as you gave it)"
                                                                      : "  (taken on trust)")},
      {"Log key",
       report.log_key + (report.log_key_pinned ? "  (as you gave it)" : "  (taken on trust)")}};
  if (!report.first_time.empty()) {
    facts.emplace_back("Spans", fmt::format("from {} to {}", report.first_time, report.last_time));
  }
  if (report.logged_spans > 0) {
    facts.emplace_back("Without signature",
                       counted(report.logged_spans, "span") + ", for which the log stands");
  }
  if (report.outside_period > 0) {
    facts.emplace_back("Outside the period",
                       counted(report.outside_period, "span") + ", which lie between the others");
  }
  return facts;
}

void append_row(std::string& out, std::string_view cell, std::initializer_list<std::string> cells) {
  out += "<tr>";
  for (const auto& each : cells) out += fmt::format("<{0}>{1}</{0}>", cell, each);
  out += "</tr>\n";
}

void append_timeline(std::string& out, const BundleReport& report) {
  std::uint64_t most = 1;
  for (const auto& [day, count] : report.by_day) most = std::max(most, count);
  out += "<h2>Timeline</h2>\n<table class=days>\n";
  for (const auto& [day, count] : report.by_day) {
    append_row(out, "td",
               {escaped(day), std::to_string(count),
                fmt::format("<div style=\"width:{}%\"></div>", 1 + 99 * count / most)});
  }
  out += "</table>\n";
}

constexpr std::string_view style =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .6rem;"
    "border-bottom:1px solid #ddd;overflow-wrap:anywhere;vertical-align:top}"
    ".good{background:#e6f4ea}.bad{background:#fce8e6}p.verdict{padding:.8rem;font-weight:600}"
    ".days td:last-child{width:60%}.days div{background:#4878a8;height:1rem}";

}  // namespace

std::string report_text(const BundleReport& report) {
  std::string out = verdict_text(report) + "\n\n";
  for (const auto& [name, text] : facts_of(report)) out += fmt::format("{:<19} {}\n", name, text);
  out += fmt::format("\n{:<12} {:<16} {:>10} {:>10} {:>10}\n", "framework", "control", "success",
                     "failure", "other");
  for (const auto& [control, counts] : report.by_control) {
    out +=
        fmt::format("{:<12} {:<16} {:>10} {:>10} {:>10}\n", without_controls(control.first),
                    without_controls(control.second), counts.success, counts.failure, counts.other);
  }
  out += '\n';
  for (const auto& key : report.keys) {
    out += fmt::format("key {} {}{}: {}\n", key.id.str(), without_controls(key.status),
                       key.revoked_at ? " at " + rfc3339(*key.revoked_at) : "",
                       counted(key.spans, "span"));
  }
  for (const auto& problem : report.problems) out += "problem: " + problem_text(problem) + '\n';
  if (report.problem_count > report.problems.size()) {
    out += fmt::format("and {} more\n", report.problem_count - report.problems.size());
  }
  out += "\nWhat this does not show:\n";
  for (const auto& limit : report.limits()) out += "- " + limit + '\n';
  return out;
}

std::string report_json(const BundleReport& report) {
  const auto held = [&] {
    if (report.held == Held::none) return std::string("null");
    const char* consistent = report.held == Held::unproven     ? "null"
                             : report.held == Held::consistent ? "true"
                                                               : "false";
    return JsonNote().count("size", report.held_size).raw("consistent", consistent).str();
  };
  const auto list = [](const auto& items, auto to_json) {
    std::string out = "[";
    for (const auto& each : items) out += (out.size() > 1 ? "," : "") + to_json(each);
    return out + "]";
  };
  JsonNote note;
  note.flag("valid", report.valid()).text("tenantId", report.tenant);
  note.text("from", report.from).text("to", report.to).text("createdAt", report.created_at);
  note.count("begin", report.begin).count("end", report.end);
  note.raw("checkpoint", JsonNote()
                             .text("origin", report.checkpoint.origin)
                             .count("size", report.checkpoint.size)
                             .text("root", base64_encode(report.checkpoint.root))
                             .text("time", rfc3339(report.checkpoint.time))
                             .str());
  note.raw("held", held());
  note.text("serviceKey", report.service_key).flag("serviceKeyPinned", report.service_key_pinned);
  note.text("logKey", report.log_key).flag("logKeyPinned", report.log_key_pinned);
  note.count("spans", report.spans).count("validSpans", report.valid_spans);
  note.count("loggedSpans", report.logged_spans);
  note.count("outsidePeriod", report.outside_period);
  note.raw("byControl", list(report.by_control, [](const auto& each) {
             return JsonNote()
                 .text("framework", each.first.first)
                 .text("control", each.first.second)
                 .count("success", each.second.success)
                 .count("failure", each.second.failure)
                 .count("other", each.second.other)
                 .str();
           }));
  note.raw("byDay", list(report.by_day, [](const auto& each) {
             return JsonNote().text("day", each.first).count("spans", each.second).str();
           }));
  note.raw("keys", list(report.keys, [](const BundleKey& key) {
             JsonNote one;
             one.text("keyId", key.id.str()).text("status", key.status);
             if (key.revoked_at) one.text("revokedAt", rfc3339(*key.revoked_at));
             return one.count("spans", key.spans).str();
           }));
  note.count("problemCount", report.problem_count);
  note.raw("problems", list(report.problems, [](const BundleReport::Problem& problem) {
             JsonNote one;
             if (problem.leaf) one.count("leaf", *problem.leaf);
             return one.text("message", problem.message).str();
           }));
  note.raw("limits", list(report.limits(), [](const std::string& limit) {
             std::string one;
             append_json_string(limit, one);
             return one;
           }));
  return note.str() + "\n";
}

std::string report_html(const BundleReport& report) {
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=en><meta charset=utf-8><title>Evidence of {0}</title>\n"
      "<style>{1}</style>\n<h1>Evidence of {0}</h1>\n<p class=\"verdict {2}\">{3}</p>\n<table>\n",
      escaped(report.tenant), style, report.valid() ? "good" : "bad",
      escaped(verdict_text(report)));
  for (const auto& [name, text] : facts_of(report)) append_row(out, "td", {name, escaped(text)});
  out += "</table>\n";
  if (!report.problems.empty()) {
    out += "<h2>Problems</h2>\n<ul>\n";
    for (const auto& each : report.problems) {
      out += fmt::format("<li>{}</li>\n", escaped(problem_text(each)));
    }
    if (report.problem_count > report.problems.size()) {
      out += fmt::format("<li>and {} more</li>\n", report.problem_count - report.problems.size());
    }
    out += "</ul>\n";
  }
  out += "<h2>Controls</h2>\n<table>\n";
  append_row(out, "th", {"Framework", "Control", "Success", "Failure", "Other"});
  for (const auto& [control, counts] : report.by_control) {
    append_row(out, "td",
               {escaped(control.first), escaped(control.second), std::to_string(counts.success),
                std::to_string(counts.failure), std::to_string(counts.other)});
  }
  out += "</table>\n";
  append_timeline(out, report);
  out += "<h2>Keys</h2>\n<table>\n";
  append_row(out, "th", {"Key", "Status", "Revoked", "Spans"});
  for (const auto& key : report.keys) {
    append_row(out, "td",
               {key.id.str(), escaped(key.status), key.revoked_at ? rfc3339(*key.revoked_at) : "",
                std::to_string(key.spans)});
  }
  out += "</table>\n<h2>What this does not show</h2>\n<ul>\n";
  for (const auto& limit : report.limits()) out += fmt::format("<li>{}</li>\n", escaped(limit));
  return out + "</ul>\n</html>\n";
}

}  // namespace betrace::kms
