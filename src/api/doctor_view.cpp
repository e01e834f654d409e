#include "api/doctor_view.h"

#include <utility>

namespace betrace::kms {

std::string_view severity_name(Severity severity) {
  switch (severity) {
    case Severity::critical:
      return "critical";
    case Severity::warning:
      return "warning";
    case Severity::info:
      return "info";
  }
  std::unreachable();
}

void write_doctor_report(const DoctorReport& report, JsonWriter& out) {
  out.begin_object();
  out.key("healthy").boolean(report.healthy());
  out.key("findings").begin_array();
  for (const auto& finding : report.findings) {
    out.begin_object();
    out.key("id").string(finding.id);
    out.key("severity").string(severity_name(finding.severity));
    out.key("title").string(finding.title);
    out.key("evidence").string(finding.evidence);
    out.key("cause").string(finding.cause);
    out.key("remedy").begin_array();
    for (const auto& command : finding.remedy) out.string(command);
    out.end_array().key("manual").string(finding.manual);
    out.end_object();
  }
  out.end_array().end_object();
}

}  // namespace betrace::kms
