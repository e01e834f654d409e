// Prometheus text format 0.0.4. The library's own serializer writes 1e-05 and labels by the
// alphabet; people grep these lines, so ours writes plain decimals, the catalogue's order of
// labels, and no timestamps. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include <prometheus/metric_family.h>

namespace betrace::kms {

// The shortest plain decimal that reads back as `value`, never with an exponent; "+Inf", "-Inf",
// "NaN".
std::string decimal(double value);

// Sorted by name and labels. HELP and TYPE only with `metadata`; families without samples are left
// out.
std::string exposition(std::vector<prometheus::MetricFamily> families, bool metadata);

}  // namespace betrace::kms
