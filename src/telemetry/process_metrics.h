// The process_* series that every Prometheus client library serves, read from the kernel.
// Thread-safe.
#pragma once

#include <vector>

#include <prometheus/metric_family.h>

namespace betrace::kms {

// What cannot be read is left out.
std::vector<prometheus::MetricFamily> process_metrics();

}  // namespace betrace::kms
