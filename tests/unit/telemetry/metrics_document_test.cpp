#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "telemetry/metric_catalogue.h"
#include "telemetry/metrics.h"

namespace betrace::kms {
namespace {

struct Row {
  std::string type, labels, meaning;
};

std::string cell(std::istringstream& row) {
  std::string text;
  std::getline(row, text, '|');
  std::erase(text, '`');
  const auto first = text.find_first_not_of(' ');
  const auto last = text.find_last_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

// The first table of docs/metrics.md, by name.
std::map<std::string, Row> documented() {
  std::ifstream file(BETRACE_SOURCE_DIR "/docs/metrics.md");
  std::map<std::string, Row> rows;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("|---")) {
      inside = true;
    } else if (inside && !line.starts_with("|")) {
      break;
    } else if (inside) {
      std::istringstream row(line.substr(1));
      const auto name = cell(row), type = cell(row), labels = cell(row), meaning = cell(row);
      EXPECT_TRUE(rows.emplace(name, Row{type, labels == "–" ? "" : labels, meaning}).second);
    }
  }
  return rows;
}

std::string type_name(prometheus::MetricType type) {
  return type == prometheus::MetricType::Counter ? "counter"
         : type == prometheus::MetricType::Gauge ? "gauge"
                                                 : "histogram";
}

TEST(MetricsDocument, SaysOfEveryMetricWhatTheCatalogueSays) {
  std::map<std::string, Row> known;
  for (const auto& metric : metric_catalogue()) {
    std::string labels(metric.labels);
    for (auto at = labels.find(','); at != std::string::npos; at = labels.find(',', at + 2)) {
      labels.replace(at, 1, ", ");
    }
    known[std::string(metric.name)] = {type_name(metric.type), labels, std::string(metric.help)};
  }
  const auto rows = documented();
  for (const auto& [name, row] : known) {
    const auto found = rows.find(name);
    ASSERT_NE(found, rows.end()) << name << " is missing in docs/metrics.md";
    EXPECT_EQ(found->second.type, row.type) << name;
    EXPECT_EQ(found->second.labels, row.labels) << name;
    EXPECT_EQ(found->second.meaning, row.meaning) << name;
  }
  for (const auto& [name, row] : rows) {
    EXPECT_TRUE(known.contains(name)) << name << " is in docs/metrics.md only";
  }
}

TEST(MetricsDocument, EveryMetricOfTheCatalogueIsServed) {
  Metrics metrics("local");
  metrics.set_oldest_active_key(SystemTime(std::chrono::seconds(1)));
  metrics.set_provider_up("local", true);
  metrics.http_request_seconds("GET", "/q/metrics", 200).Observe(0.001);
  const std::string text = metrics.render(true);
  for (const auto& metric : metric_catalogue()) {
    EXPECT_NE(text.find("# TYPE " + std::string(metric.name) + " " + type_name(metric.type) + "\n"),
              std::string::npos)
        << metric.name;
  }
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("# TYPE ")) continue;
    const auto name = line.substr(7, line.find(' ', 7) - 7);
    EXPECT_NE(find_metric(name), nullptr) << name;
  }
}

}  // namespace
}  // namespace betrace::kms
