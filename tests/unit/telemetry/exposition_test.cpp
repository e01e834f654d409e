#include "telemetry/exposition.h"

#include <charconv>
#include <limits>

#include <gtest/gtest.h>

namespace betrace::kms {
namespace {

TEST(Decimal, WritesTheShortestPlainDigits) {
  EXPECT_EQ(decimal(0), "0");
  EXPECT_EQ(decimal(1), "1");
  EXPECT_EQ(decimal(-2.5), "-2.5");
  EXPECT_EQ(decimal(0.1), "0.1");
  EXPECT_EQ(decimal(0.00001), "0.00001");
  EXPECT_EQ(decimal(1763863200.123), "1763863200.123");
}

TEST(Decimal, NeverUsesAnExponent) {
  EXPECT_EQ(decimal(1e15), "1000000000000000");
  EXPECT_EQ(decimal(123456789012345678.0), "123456789012345680");
  EXPECT_EQ(decimal(1e-7), "0.0000001");
  for (const double extreme :
       {std::numeric_limits<double>::max(), std::numeric_limits<double>::min(),
        std::numeric_limits<double>::denorm_min()}) {
    for (const double value : {extreme, -extreme}) {
      const std::string text = decimal(value);
      EXPECT_EQ(text.find_first_of("eE"), std::string::npos);
      double back = 0;
      std::from_chars(text.data(), text.data() + text.size(), back);
      EXPECT_EQ(back, value);
    }
  }
}

TEST(Decimal, WritesWhatIsNoNumberAsPrometheusDoes) {
  EXPECT_EQ(decimal(std::numeric_limits<double>::infinity()), "+Inf");
  EXPECT_EQ(decimal(-std::numeric_limits<double>::infinity()), "-Inf");
  EXPECT_EQ(decimal(std::numeric_limits<double>::quiet_NaN()), "NaN");
}

prometheus::MetricFamily gauge_family(std::string value) {
  prometheus::ClientMetric metric;
  metric.label = {{"route", std::move(value)}};
  metric.gauge.value = 1;
  return {"g", "About \\ and\nlines \"quoted\".", prometheus::MetricType::Gauge, {metric}};
}

TEST(Exposition, EscapesLabelsAndHelp) {
  EXPECT_EQ(exposition({gauge_family("a\"b\\c\nd")}, true),
            "# HELP g About \\\\ and\\nlines \"quoted\".\n"
            "# TYPE g gauge\n"
            "g{route=\"a\\\"b\\\\c\\nd\"} 1\n");
}

TEST(Exposition, LeavesOutFamiliesWithoutSamples) {
  EXPECT_EQ(exposition({{"empty", "Nothing.", prometheus::MetricType::Counter, {}}}, true), "");
}

TEST(Exposition, WritesLabelsInTheOrderOfTheCatalogue) {
  prometheus::ClientMetric metric;
  metric.label = {{"error", "kms_timeout"}, {"operation", "decrypt"}};
  EXPECT_EQ(
      exposition({{"kms_errors_total", "", prometheus::MetricType::Counter, {metric}}}, false),
      "kms_errors_total{operation=\"decrypt\",error=\"kms_timeout\"} 0\n");
}

TEST(Exposition, AHistogramHasBucketsSumAndCount) {
  prometheus::ClientMetric metric;
  metric.histogram.sample_count = 3;
  metric.histogram.sample_sum = 2.5;
  metric.histogram.bucket = {{1, 0.1}, {3, std::numeric_limits<double>::infinity()}};
  EXPECT_EQ(exposition({{"h", "H.", prometheus::MetricType::Histogram, {metric}}}, false),
            "h_bucket{le=\"0.1\"} 1\n"
            "h_bucket{le=\"+Inf\"} 3\n"
            "h_sum 2.5\n"
            "h_count 3\n");
}

}  // namespace
}  // namespace betrace::kms
