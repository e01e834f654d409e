#include "telemetry/metrics.h"

#include <array>
#include <cstdio>
#include <filesystem>
#include <regex>
#include <sstream>
#include <thread>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "telemetry/version.h"

namespace betrace::kms {
namespace {

struct ShellAnswer {
  std::string out;
  int status = -1;
};

// Runs the manual's pipeline with `text` in the place of `curl -s http://…/q/metrics`.
ShellAnswer shell(const std::string& text, const std::string& pipeline) {
  auto path = (std::filesystem::temp_directory_path() / "betrace-metrics-XXXXXX").string();
  const int fd = ::mkstemp(path.data());
  EXPECT_GE(fd, 0);
  EXPECT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  ::close(fd);
  const std::string command = "metrics() { cat " + path + "; }; " + pipeline;
  FILE* pipe = ::popen(command.c_str(), "r");
  ShellAnswer answer;
  std::array<char, 4096> buffer{};
  for (std::size_t got; (got = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    answer.out.append(buffer.data(), got);
  }
  answer.status = WEXITSTATUS(::pclose(pipe));
  ::unlink(path.c_str());
  return answer;
}

std::string run(const std::string& text, const std::string& pipeline) {
  std::string out = shell(text, pipeline).out;
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

CacheReport some_report() {
  return {.private_keys = {.hits = 90,
                           .misses = 10,
                           .size = 5,
                           .evicted_size = 1,
                           .evicted_expired = 2,
                           .evicted_explicit = 3},
          .public_keys = {.hits = 7, .misses = 1, .size = 4},
          .encryption_keys = {.hits = 20, .misses = 5, .size = 2}};
}

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

TEST(Metrics, SeriesWithClosedLabelSetsExistFromTheStart) {
  const Metrics metrics("aws");
  const std::string text = metrics.render(false);
  for (const char* type : {"signing", "public", "encryption"}) {
    const auto label = std::string("{key_type=\"") + type + "\"} 0";
    EXPECT_TRUE(has_line(text, "kms_cache_hit_total" + label));
    EXPECT_TRUE(has_line(text, "kms_cache_miss_total" + label));
    EXPECT_TRUE(has_line(text, std::string("kms_retrieve_") + type + "_key_seconds_count 0"));
  }
  for (const char* operation : {"generate_data_key", "encrypt", "decrypt", "describe_key"}) {
    for (const char* error :
         {"kms_access_denied", "kms_key_disabled", "kms_unavailable", "kms_timeout", "circuit_open",
          "invalid_ciphertext", "invalid_argument", "wrapped_elsewhere", "internal"}) {
      EXPECT_TRUE(has_line(text, std::string("kms_errors_total{operation=\"") + operation +
                                     "\",error=\"" + error + "\"} 0"));
    }
    EXPECT_TRUE(has_line(text, std::string("kms_operation_seconds_count{provider=\"aws\","
                                           "operation=\"") +
                                   operation + "\"} 0"));
  }
  for (const char* name : {"kms-signing-key", "kms-public-key", "kms-encryption-key"}) {
    EXPECT_TRUE(has_line(text, std::string("circuit_breaker_state{name=\"") + name + "\"} 0"));
  }
  for (const char* cache : {"privateKeys", "publicKeys", "encryptionKeys"}) {
    EXPECT_TRUE(has_line(text, std::string("cache_size{cache=\"") + cache + "\"} 0"));
    for (const char* cause : {"size", "expired", "explicit"}) {
      EXPECT_TRUE(has_line(text, std::string("cache_evictions_total{cache=\"") + cache +
                                     "\",cause=\"" + cause + "\"} 0"));
    }
  }
  for (const char* series :
       {"kms_verifications_total{result=\"valid\"}", "kms_verifications_total{result=\"invalid\"}",
        "kms_decryptions_total{result=\"success\"}", "kms_decryptions_total{result=\"failure\"}",
        "kms_signatures_total", "kms_encryptions_total", "kms_rotation_success_total",
        "kms_rotation_failures_total", "kms_tenants_rotated_total",
        "kms_rotation_duration_seconds_count"}) {
    EXPECT_TRUE(has_line(text, std::string(series) + " 0")) << series;
  }
}

TEST(Metrics, TheRetrievalHistogramHasTheContractsBoundaries) {
  const std::string text = Metrics("local").render(false);
  const std::string boundaries = run(
      text,
      R"(metrics | grep -o 'kms_retrieve_signing_key_seconds_bucket{le="[^"]*' | cut -d'"' -f2 |)"
      R"( tr '\n' ' ')");
  EXPECT_EQ(boundaries,
            "0.00001 0.00005 0.0001 0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.2 0.5 1 2.5 5 "
            "10 +Inf ");
}

TEST(Metrics, TheManualsHitRateIsOneNumber) {
  Metrics metrics("aws");
  metrics.set_cache_report(some_report);
  const std::string text = metrics.render(false);
  EXPECT_EQ(run(text, R"(metrics | grep 'kms_cache_hit_total{key_type="signing"}' | )"
                      R"(awk '{print $2}')"),
            "90");
  EXPECT_EQ(run(text, R"(
      hits=$(metrics | grep 'kms_cache_hit_total{key_type="signing"}' | awk '{print $2}')
      misses=$(metrics | grep 'kms_cache_miss_total{key_type="signing"}' | awk '{print $2}')
      awk -v h="$hits" -v m="$misses" 'BEGIN {print h / (h + m) * 100}')"),
            "90");
  EXPECT_EQ(run(text, "metrics | grep kms_cache_hit_total | awk '{s+=$2} END {print s}'"), "117");
}

TEST(Metrics, TheManualsDaysSinceRotationCanBeComputed) {
  Metrics metrics("aws");
  metrics.set_oldest_active_key(SystemTime(std::chrono::milliseconds(1763863200123)));
  const std::string text = metrics.render(false);
  EXPECT_EQ(run(text, "metrics | grep kms_last_rotation_timestamp_seconds"),
            "kms_last_rotation_timestamp_seconds 1763863200.123");
  EXPECT_EQ(run(text, R"(
      last_rotation=$(metrics | grep kms_last_rotation_timestamp_seconds | awk '{print $2}')
      echo $(( (1772071200 - $(echo $last_rotation | cut -d. -f1)) / 86400 )))"),
            "95");
}

TEST(Metrics, TheManualsBreakerPipelineIsOneLine) {
  Metrics metrics("aws");
  metrics.breaker_state("kms-signing-key").Set(1);
  const std::string text = metrics.render(false);
  EXPECT_EQ(run(text, R"(metrics | grep 'circuit_breaker_state{name="kms-signing-key"}')"),
            R"(circuit_breaker_state{name="kms-signing-key"} 1)");
  EXPECT_EQ(run(text, "metrics | grep -c circuit_breaker_state"), "3");
}

TEST(Metrics, EveryErrorPipelineGivesNumbers) {
  Metrics metrics("aws");
  metrics.errors("generate_data_key", ErrorCode::kms_access_denied).Increment();
  const std::string text = metrics.render(false);
  EXPECT_EQ(run(text, "metrics | grep kms_errors_total | awk '$2 > 0'"),
            R"(kms_errors_total{operation="generate_data_key",error="kms_access_denied"} 1)");
  EXPECT_EQ(run(text, "metrics | grep kms_errors_total | awk 'NF != 2' | wc -l"), "0");
}

TEST(Metrics, EverySampleIsANameAndAPlainDecimal) {
  Metrics metrics("aws");
  metrics.set_cache_report(some_report);
  metrics.retrieve_signing_key.Observe(0.0000001);
  std::istringstream lines(metrics.render(false));
  const std::regex sample(R"([a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? -?\d+(\.\d+)?)");
  for (std::string line; std::getline(lines, line);) {
    EXPECT_TRUE(std::regex_match(line, sample)) << line;
  }
}

TEST(Metrics, TheRotationTimeIsAbsentWhileThereAreNoKeys) {
  Metrics metrics("local");
  EXPECT_EQ(metrics.render(true).find("kms_last_rotation"), std::string::npos);
  metrics.set_oldest_active_key(SystemTime(std::chrono::seconds(5)));
  EXPECT_TRUE(has_line(metrics.render(false), "kms_last_rotation_timestamp_seconds 5"));
  metrics.set_oldest_active_key(std::nullopt);
  EXPECT_EQ(metrics.render(true).find("kms_last_rotation"), std::string::npos);
}

TEST(Metrics, CacheHitsCountAsTheFastestRetrievals) {
  Metrics metrics("local");
  metrics.retrieve_signing_key.Observe(0.02);
  metrics.set_cache_report(some_report);
  const std::string text = metrics.render(false);
  const std::string name = "kms_retrieve_signing_key_seconds";
  EXPECT_TRUE(has_line(text, name + "_bucket{le=\"0.00001\"} 90"));
  EXPECT_TRUE(has_line(text, name + "_bucket{le=\"0.01\"} 90"));
  EXPECT_TRUE(has_line(text, name + "_bucket{le=\"0.025\"} 91"));
  EXPECT_TRUE(has_line(text, name + "_bucket{le=\"+Inf\"} 91"));
  EXPECT_TRUE(has_line(text, name + "_count 91"));
  EXPECT_TRUE(has_line(text, name + "_sum 0.02"));
  EXPECT_TRUE(has_line(text, "kms_retrieve_public_key_seconds_count 7"));
  EXPECT_TRUE(has_line(text, "kms_retrieve_encryption_key_seconds_count 20"));
}

TEST(Metrics, CachesAreReportedByTheirNames) {
  Metrics metrics("local");
  metrics.set_cache_report(some_report);
  const std::string text = metrics.render(false);
  EXPECT_TRUE(has_line(text, R"(cache_size{cache="privateKeys"} 5)"));
  EXPECT_TRUE(has_line(text, R"(cache_evictions_total{cache="privateKeys",cause="size"} 1)"));
  EXPECT_TRUE(has_line(text, R"(cache_evictions_total{cache="privateKeys",cause="expired"} 2)"));
  EXPECT_TRUE(has_line(text, R"(cache_evictions_total{cache="privateKeys",cause="explicit"} 3)"));
}

TEST(Metrics, AReportThatWasResetIsNotAskedAgain) {
  Metrics metrics("local");
  {
    const auto report = std::make_unique<CacheReport>(some_report());
    metrics.set_cache_report([&report] { return *report; });
    EXPECT_TRUE(has_line(metrics.render(false), R"(cache_size{cache="privateKeys"} 5)"));
    metrics.set_cache_report({});
  }
  EXPECT_TRUE(has_line(metrics.render(false), R"(cache_size{cache="privateKeys"} 0)"));
}

TEST(Metrics, RequestsAreTimedByMethodRouteAndStatus) {
  Metrics metrics("local");
  metrics.http_request_seconds("POST", "/api/tenants/{id}/sign", 200).Observe(0.003);
  metrics.http_request_seconds("POST", "/api/tenants/{id}/sign", 200).Observe(0.003);
  const std::string text = metrics.render(false);
  EXPECT_TRUE(has_line(text, R"(http_server_requests_seconds_count{method="POST",)"
                             R"(route="/api/tenants/{id}/sign",status="200"} 2)"));
  EXPECT_TRUE(has_line(text, R"(http_server_requests_seconds_bucket{method="POST",)"
                             R"(route="/api/tenants/{id}/sign",status="200",le="0.005"} 2)"));
}

TEST(Metrics, TheBuildAndTheProcessAreDescribed) {
  const std::string text = Metrics("local").render(false);
  EXPECT_TRUE(
      has_line(text, "betrace_kms_build_info{version=\"" + std::string(version()) + "\"} 1"));
  const auto value = [&](const std::string& name) {
    return std::stod(run(text, "metrics | grep '^" + name + " ' | awk '{print $2}'"));
  };
  EXPECT_GT(value("process_resident_memory_bytes"), 1e6);
  EXPECT_GT(value("process_virtual_memory_bytes"), value("process_resident_memory_bytes"));
  EXPECT_GE(value("process_cpu_seconds_total"), 0);
  EXPECT_GE(value("process_open_fds"), 3);
  EXPECT_GT(value("process_max_fds"), value("process_open_fds"));
  const auto now = static_cast<double>(::time(nullptr));
  EXPECT_NEAR(value("process_start_time_seconds"), now, 600);
}

TEST(Metrics, PromtoolAcceptsTheFormWithMetadata) {
  Metrics metrics("aws");
  metrics.set_cache_report(some_report);
  metrics.set_oldest_active_key(SystemTime(std::chrono::seconds(1763863200)));
  metrics.http_request_seconds("GET", "/q/health", 200).Observe(0.001);
  ASSERT_EQ(shell("", "command -v promtool").status, 0)
      << "promtool is needed: run tools/install-prometheus";
  const auto answer = shell(metrics.render(true), "metrics | promtool check metrics 2>&1");
  EXPECT_EQ(answer.status, 0) << answer.out;
}

TEST(Metrics, TheFormWithoutMetadataHasTheSameSamples) {
  Metrics metrics("aws");
  metrics.set_cache_report(some_report);
  const std::string without = run(metrics.render(false), "metrics | grep -v ^process_");
  const std::string with = run(metrics.render(true), "metrics | grep -v '^#' | grep -v ^process_");
  EXPECT_EQ(without, with);
  EXPECT_EQ(without.find('#'), std::string::npos);
}

TEST(Metrics, MayBeReadWhileTheyAreWritten) {
  Metrics metrics("aws");
  std::jthread writer([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      metrics.retrieve_signing_key.Observe(0.001);
      metrics.errors("decrypt", ErrorCode::kms_timeout).Increment();
      metrics.set_oldest_active_key(SystemTime(std::chrono::seconds(1)));
      metrics.set_cache_report(some_report);
    }
  });
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(metrics.render(i % 2 == 0).empty());
}

}  // namespace
}  // namespace betrace::kms
