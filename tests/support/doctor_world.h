// A service with nothing wrong as the rules of doctor see it, for a test to break.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "betrace/kms/provider.h"

#include "core/doctor_rules.h"

namespace betrace::kms {

class FakeRemedies final : public Remedies {
 public:
  std::vector<Doubt> doubted;
  Advice advise(const Trouble& trouble) const override {
    return {.cause = "as the provider explains it",
            .commands = {"fake fix " + trouble.key_id},
            .settings = trouble.kind == TroubleKind::not_for_production
                            ? decltype(Advice::settings){{"betrace.kms.provider", "aws"}}
                            : decltype(Advice::settings){}};
  }
  std::string permission(std::string_view operation) const override {
    return "fake:" + std::string(operation);
  }
  std::vector<Doubt> doubts() const override { return doubted; }
  std::optional<ProviderPrices> prices() const override {
    return ProviderPrices{.ten_thousand_calls = 0.03, .key_month = 1};
  }
};

inline constexpr const char* operations[] = {"generate_data_key", "encrypt", "decrypt",
                                             "describe_key"};

struct DoctorRules : testing::Test {
  FakeRemedies remedies;
  DoctorFacts facts = healthy();

  // A service under a real provider with nothing wrong.
  DoctorFacts healthy() {
    DoctorFacts good{.now = SystemTime(std::chrono::hours(24 * 365 * 56))};
    good.config.file = "/etc/betrace/application.properties";
    good.config.provider = "aws";
    ProviderFacts provider{.probe = {.provider = "aws",
                                     .calls = {},
                                     .key = MasterKeyInfo{.key_id = "key-1", .state = "Enabled"},
                                     .wraps_under = "key-1"},
                           .remedies = &remedies};
    for (const auto* operation : operations) {
      provider.probe.calls.push_back({.operation = operation,
                                      .error = {},
                                      .latency = std::chrono::milliseconds(5),
                                      .tries = 3});
    }
    good.provider = provider;
    good.breakers = {{"kms-signing-key", BreakerState::closed}};
    good.usage = UsageFacts{.window = std::chrono::minutes(30),
                            .signing = {.hits = 9000, .misses = 90},
                            .encryption = {.hits = 900, .misses = 9},
                            .decryptions = 100};
    good.store = StoreFacts{.error = {},
                            .oldest_active_key = good.now - std::chrono::days(3),
                            .tenants = 7,
                            .overdue_tenants = 0,
                            .holders = {{{"aws", "key-1", 14}, true}}};
    good.host.disk = {.path = "/var/lib/betrace-kms", .free_bytes = std::uint64_t{10} << 30};
    good.host.certificate = {
        .file = "/etc/tls.pem", .expires_at = good.now + std::chrono::days(60), .error = {}};
    good.host.schema = {.file = "kms.db", .version = 2, .newest = 2, .error = {}};
    good.host.memory_locked = true;
    return good;
  }

  void fail_call(std::size_t which, ErrorCode code, std::string message) {
    facts.provider->probe.calls.at(which).error =
        Error{.code = code, .message = std::move(message)};
  }
  // The only finding there must be.
  Finding only(std::string_view id) const {
    const auto report = diagnose(facts);
    EXPECT_EQ(report.findings.size(), 1U) << names(report);
    if (report.findings.empty()) return {};
    EXPECT_EQ(report.findings.front().id, id);
    return report.findings.front();
  }
  static std::string names(const DoctorReport& report) {
    std::string all;
    for (const auto& each : report.findings) all += each.id + " ";
    return all;
  }
};

inline bool holds(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
}
inline bool has(const Finding& finding, const std::string& command) {
  return std::ranges::find(finding.remedy, command) != finding.remedy.end();
}

}  // namespace betrace::kms
