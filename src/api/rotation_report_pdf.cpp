#include <fmt/format.h>

#include "api/json_writer.h"
#include "api/pdf_page_writer.h"
#include "api/rotation_report.h"
#include "api/rotation_views.h"
#include "base/encoding.h"

namespace betrace::kms {
namespace {

constexpr std::size_t rotations_max = 20'000;

// "2025-11-23 02:00:00 UTC"
std::string readable(SystemTime at) {
  const auto text = rfc3339(at);
  return fmt::format("{} {} UTC", text.substr(0, 10), text.substr(11, 8));
}

std::string counted(std::uint64_t number, std::string_view noun) {
  return fmt::format("{} {}{}", number, noun, number == 1 ? "" : "s");
}

void add_statement(const ReportDocument& document, PdfPageWriter& out) {
  const auto& report = document.report;
  out.heading("Age bound");
  out.paragraph(fmt::format(
      "A tenant's signing key and encryption key are due for rotation when they are {} old. At {}, "
      "{} of {} {} a key that is older.",
      counted(static_cast<std::uint64_t>(report.max_age.count()), "day"),
      readable(document.made_at), report.overdue, counted(report.tenants, "tenant"),
      report.overdue == 1 ? "has" : "have"));
  out.paragraph(
      report.overdue == 0
          ? "Every tenant is within the bound."
          : "The tenants over the bound are listed under \"Overdue\" with the age of their keys.");
}

void add_totals(const ReportDocument& document, PdfPageWriter& out) {
  const auto& report = document.report;
  const auto sums = totals(report);
  out.heading("Totals of the period");
  out.begin_table({{"What", 300}, {"Number", 100}});
  out.row({"Signing keys rotated", std::to_string(sums.signing_keys)});
  out.row({"Encryption keys rotated", std::to_string(sums.encryption_keys)});
  out.row({"Tenants with a rotated key", std::to_string(sums.tenants)});
  out.row({"Rotation runs begun", std::to_string(report.runs.size())});
  out.row({"Tenants that a run could not rotate", std::to_string(sums.failures)});
  out.row({"Tenants now", std::to_string(report.tenants)});
  out.row({"Tenants now over the age bound", std::to_string(report.overdue)});
  out.end_table();
  if (report.truncated) {
    out.paragraph(
        "More keys were rotated in the period than a report holds: the totals count those "
        "that are listed. Ask for shorter periods.");
  }
}

void add_runs(const RotationReport& report, PdfPageWriter& out) {
  out.heading("Rotation runs");
  if (report.runs.empty()) return out.paragraph("None began in this period.");
  out.begin_table({{"Began", 130},
                   {"Ended", 130},
                   {"State", 90},
                   {"Begun by", 90},
                   {"Tenants", 80},
                   {"Rotated", 80},
                   {"Failed", 80},
                   {"Forced", 80}});
  for (const auto& run : report.runs) {
    out.row({readable(run.started_at), run.finished_at ? readable(*run.finished_at) : "",
             run_status(run), run.trigger, std::to_string(run.total_tenants),
             std::to_string(run.rotated_tenants), std::to_string(run.failed_tenants),
             run.force ? "yes" : "no"});
  }
  out.end_table();
}

void add_failures(const RotationReport& report, PdfPageWriter& out) {
  out.heading("Failures");
  bool any = false;
  for (const auto& run : report.runs) {
    for (const auto& failure : run.failures) {
      if (!any) out.begin_table({{"Time", 130}, {"Tenant", 250}, {"Error", 390}});
      any = true;
      out.row({readable(failure.at), failure.tenant, failure.error});
    }
  }
  out.end_table();
  if (!any) out.paragraph("None.");
}

void add_overdue(const ReportDocument& document, PdfPageWriter& out) {
  out.heading("Overdue");
  if (document.overdue.empty()) return out.paragraph("None.");
  out.begin_table({{"Tenant", 250}, {"Type", 80}, {"Key", 190}, {"Made", 140}, {"Age, days", 110}});
  for (const auto& due : document.overdue) {
    out.row({due.key.tenant.str(), to_string(due.key.type), due.key.id.str(),
             readable(due.key.created_at), std::to_string(due.age.count())});
  }
  out.end_table();
  if (document.overdue_is_truncated) {
    out.paragraph(fmt::format("The {} oldest are listed.", document.overdue.size()));
  }
}

void add_rotations(const RotationReport& report, PdfPageWriter& out) {
  out.heading("Rotations");
  if (report.rotated.empty()) return out.paragraph("No key was rotated in this period.");
  out.begin_table({{"Time", 115},
                   {"Tenant", 225},
                   {"Type", 58},
                   {"Old key", 165},
                   {"New key", 165},
                   {"Version", 42}});
  std::size_t left = rotations_max;
  for (const auto& key : report.rotated) {
    if (left-- == 0) break;
    out.row({readable(key.rotated_at), key.tenant.str(), to_string(key.type), key.old_key.str(),
             key.new_key.str(), std::to_string(key.new_version)});
  }
  out.end_table();
  if (report.rotated.size() > rotations_max) {
    out.paragraph(fmt::format(
        "The first {} of {} are listed. The CSV and JSON forms of this report have them all.",
        rotations_max, report.rotated.size()));
  }
}

}  // namespace

Result<WipedString> report_pdf(const ReportDocument& document) {
  const auto& report = document.report;
  PdfPageWriter out({.title = "Key rotation report",
                     .creator = "BeTrace KMS " + document.version,
                     .made_at = document.made_at});
  out.title("Key rotation report");
  out.paragraph(fmt::format("Period: from {} up to {} (exclusive)", readable(report.from),
                            readable(report.to)));
  out.paragraph(fmt::format("Made {} by BeTrace KMS {}, from the records of its store.",
                            readable(document.made_at), document.version));
  add_statement(document, out);
  add_totals(document, out);
  add_overdue(document, out);
  add_runs(report, out);
  add_failures(report, out);
  add_rotations(report, out);
  return out.finish();
}

}  // namespace betrace::kms
