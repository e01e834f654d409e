#include "api/rotation_report.h"

#include <set>

#include <fmt/format.h>

#include "api/json_writer.h"
#include "api/rotation_views.h"
#include "base/encoding.h"

namespace betrace::kms {
namespace {

std::int64_t number(std::uint64_t value) { return static_cast<std::int64_t>(value); }

void write_rotated(const RotatedKey& key, JsonWriter& out) {
  out.begin_object();
  out.key("tenantId").string(key.tenant.str());
  out.key("keyType").string(to_string(key.type));
  out.key("oldKeyId").string(key.old_key.str());
  out.key("newKeyId").string(key.new_key.str());
  out.key("newVersion").integer(key.new_version);
  out.key("rotatedAt").time(key.rotated_at);
  out.end_object();
}

void write_totals(const ReportDocument& document, JsonWriter& out) {
  const auto sums = totals(document.report);
  out.key("totals").begin_object();
  out.key("signing_keys").integer(number(sums.signing_keys));
  out.key("encryption_keys").integer(number(sums.encryption_keys));
  out.key("tenants_rotated").integer(number(sums.tenants));
  out.key("runs").integer(number(document.report.runs.size()));
  out.key("failures").integer(number(sums.failures));
  out.end_object();
}

// --- CSV ----------------------------------------------------------------------------------------

void add_cell(std::string_view text, WipedString& out) {
  // What these begin a spreadsheet calculates.
  constexpr std::string_view formula = "=+-@\t\r";
  const bool calculated = !text.empty() && formula.find(text[0]) != std::string_view::npos;
  const bool quoted = text.find_first_of("\",\r\n") != std::string_view::npos;
  if (quoted) out += '"';
  if (calculated) out += '\'';
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  if (quoted) out += '"';
}

void add_row(std::initializer_list<std::string_view> cells, WipedString& out) {
  bool first = true;
  for (const auto cell : cells) {
    if (!first) out += ',';
    first = false;
    add_cell(cell, out);
  }
  out += "\r\n";
}

}  // namespace

ReportTotals totals(const RotationReport& report) {
  ReportTotals sums;
  std::set<std::string_view> tenants;
  for (const auto& key : report.rotated) {
    ++(key.type == KeyType::signing ? sums.signing_keys : sums.encryption_keys);
    tenants.insert(key.tenant.str());
  }
  sums.tenants = tenants.size();
  for (const auto& run : report.runs) sums.failures += run.failed_tenants;
  return sums;
}

WipedString report_json(const ReportDocument& document) {
  const auto& report = document.report;
  JsonWriter out(1024 + report.rotated.size() * 256);
  out.begin_object();
  out.key("from").time(report.from);
  out.key("to").time(report.to);
  out.key("generated_at").time(document.made_at);
  out.key("max_age_days").integer(report.max_age.count());
  out.key("tenants").integer(number(report.tenants));
  out.key("overdue_tenants").integer(number(report.overdue));
  write_totals(document, out);
  out.key("truncated").boolean(report.truncated);
  out.key("rotations").begin_array();
  for (const auto& key : report.rotated) write_rotated(key, out);
  out.end_array().key("runs").begin_array();
  for (const auto& run : report.runs) write_run(run, out);
  out.end_array().key("overdue").begin_array();
  for (const auto& due : document.overdue) write_due_key(due, out);
  out.end_array().key("overdue_truncated").boolean(document.overdue_is_truncated);
  out.end_object();
  return std::move(out).take();
}

WipedString report_csv(const ReportDocument& document) {
  WipedString out;
  out.reserve(256 + document.report.rotated.size() * 160);
  add_row({"record", "tenant_id", "key_type", "key_id", "new_key_id", "new_version", "at", "error"},
          out);
  for (const auto& key : document.report.rotated) {
    add_row({"rotation", key.tenant.str(), to_string(key.type), key.old_key.str(),
             key.new_key.str(), std::to_string(key.new_version), rfc3339(key.rotated_at), ""},
            out);
  }
  for (const auto& run : document.report.runs) {
    for (const auto& failure : run.failures) {
      add_row({"failure", failure.tenant, "", "", "", "", rfc3339(failure.at), failure.error}, out);
    }
  }
  for (const auto& due : document.overdue) {
    add_row({"overdue", due.key.tenant.str(), to_string(due.key.type), due.key.id.str(), "", "",
             rfc3339(due.key.created_at), ""},
            out);
  }
  return out;
}

}  // namespace betrace::kms
