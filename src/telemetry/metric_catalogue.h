// The list of all series: name, type, labels in the order in which they are written, meaning.
// docs/metrics.md is compared with it. Immutable.
#pragma once

#include <span>
#include <string_view>

#include <prometheus/metric_type.h>

namespace betrace::kms {

struct MetricDescription {
  std::string_view name;
  prometheus::MetricType type;
  std::string_view labels;  // comma-separated, "" for none
  std::string_view help;
};

std::span<const MetricDescription> metric_catalogue();
// Null when there is no such metric.
const MetricDescription* find_metric(std::string_view name);

}  // namespace betrace::kms
