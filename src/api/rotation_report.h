// The rotation report in the three forms that it is asked for: for programs, for spreadsheets, for
// the reader of an audit. Each says the same.
#pragma once

#include <string>
#include <vector>

#include "betrace/kms/result.h"
#include "betrace/kms/rotation.h"
#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

struct ReportDocument {
  RotationReport report;
  std::vector<DueKey> overdue;        // now, oldest first
  bool overdue_is_truncated = false;  // there are more
  SystemTime made_at;
  std::string version;  // of the service
};

WipedString report_json(const ReportDocument& document);

// RFC 4180 with a header line; a row for each rotation, each failure and each overdue key. A cell
// that a spreadsheet would take for a formula begins with an apostrophe.
WipedString report_csv(const ReportDocument& document);

// PDF 1.4 or so, for A4 paper. Lists at most 20,000 rotations and says so when there are more; the
// other forms have them all. Errors: internal.
Result<WipedString> report_pdf(const ReportDocument& document);

// What happened in the period, added up.
struct ReportTotals {
  std::uint64_t signing_keys = 0, encryption_keys = 0;
  std::uint64_t tenants = 0;  // with at least one of them
  std::uint64_t failures = 0;
};
ReportTotals totals(const RotationReport& report);

}  // namespace betrace::kms
