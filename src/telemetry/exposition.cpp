#include "telemetry/exposition.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

#include "telemetry/metric_catalogue.h"

namespace betrace::kms {
namespace {

using Label = prometheus::ClientMetric::Label;

void append_escaped(std::string_view text, bool quotes, std::string& out) {
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else {
      if (c == '\\' || (quotes && c == '"')) out += '\\';
      out += c;
    }
  }
}

void append_sample(std::string_view name, std::string_view suffix, const std::vector<Label>& labels,
                   std::string_view le, double value, std::string& out) {
  out.append(name).append(suffix);
  char separator = '{';
  const auto append_label = [&](std::string_view label, std::string_view text) {
    out += separator;
    out.append(label).append("=\"");
    append_escaped(text, true, out);
    out += '"';
    separator = ',';
  };
  for (const auto& label : labels) append_label(label.name, label.value);
  if (!le.empty()) append_label("le", le);
  if (separator == ',') out += '}';
  out += ' ';
  out += decimal(value);
  out += '\n';
}

void append_histogram(std::string_view name, const prometheus::ClientMetric& metric,
                      std::string& out) {
  const auto& histogram = metric.histogram;
  const auto count = static_cast<double>(histogram.sample_count);
  for (const auto& bucket : histogram.bucket) {
    if (std::isinf(bucket.upper_bound)) continue;
    append_sample(name, "_bucket", metric.label, decimal(bucket.upper_bound),
                  static_cast<double>(bucket.cumulative_count), out);
  }
  append_sample(name, "_bucket", metric.label, "+Inf", count, out);
  append_sample(name, "_sum", metric.label, {}, histogram.sample_sum, out);
  append_sample(name, "_count", metric.label, {}, count, out);
}

std::string_view type_name(prometheus::MetricType type) {
  switch (type) {
    case prometheus::MetricType::Counter:
      return "counter";
    case prometheus::MetricType::Gauge:
      return "gauge";
    case prometheus::MetricType::Histogram:
      return "histogram";
    case prometheus::MetricType::Summary:
      return "summary";
    default:
      return "untyped";
  }
}

void append_family(const prometheus::MetricFamily& family, bool metadata, std::string& out) {
  if (metadata) {
    out.append("# HELP ").append(family.name) += ' ';
    append_escaped(family.help, false, out);
    out.append("\n# TYPE ").append(family.name) += ' ';
    out.append(type_name(family.type)) += '\n';
  }
  for (const auto& metric : family.metric) {
    if (family.type == prometheus::MetricType::Histogram) {
      append_histogram(family.name, metric, out);
    } else {
      const bool counts = family.type == prometheus::MetricType::Counter;
      append_sample(family.name, {}, metric.label, {},
                    counts ? metric.counter.value : metric.gauge.value, out);
    }
  }
}

void sort_series(prometheus::MetricFamily& family) {
  if (const auto* description = find_metric(family.name)) {
    const auto rank = [&](const Label& label) { return description->labels.find(label.name); };
    for (auto& metric : family.metric) std::ranges::sort(metric.label, {}, rank);
  }
  std::ranges::sort(family.metric, [](const auto& a, const auto& b) { return a.label < b.label; });
}

}  // namespace

std::string decimal(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  // The longest double in plain digits: a sign, "0.", and 324 + 17 digits.
  std::array<char, 350> digits{};
  const auto end =
      std::to_chars(digits.data(), digits.data() + digits.size(), value, std::chars_format::fixed);
  return {digits.data(), end.ptr};
}

std::string exposition(std::vector<prometheus::MetricFamily> families, bool metadata) {
  std::ranges::sort(families, {}, &prometheus::MetricFamily::name);
  std::string out;
  for (auto& family : families) {
    if (family.metric.empty()) continue;
    sort_series(family);
    append_family(family, metadata, out);
  }
  return out;
}

}  // namespace betrace::kms
