// What the verification of a bundle came to, for people and for programs. Pure functions.
#pragma once

#include <string>

#include "evidence/bundle.h"

namespace betrace::kms {

// Lines of plain text; what came from the bundle is made fit for a terminal.
std::string report_text(const BundleReport& report);
// One JSON object and a line end.
std::string report_json(const BundleReport& report);
// A page that needs nothing else: counts by control, a timeline, problems.
std::string report_html(const BundleReport& report);

}  // namespace betrace::kms
