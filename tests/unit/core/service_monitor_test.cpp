#include "core/service_monitor.h"

#include <algorithm>

#include "support/service_fixture.h"

namespace betrace::kms {
namespace {

struct ServiceMonitorTest : ServiceFixture {
  CircuitBreaker breaker{"kms-signing-key", {}, clock, [](const auto&, auto) {}};
  ServiceMonitor monitor{{provider, {&breaker}, *service, provider_threads, clock, metrics}, {}};

  Result<ValidationReport> validate() {
    return wait<ValidationReport>([&](auto done) { monitor.validate(call, std::move(done)); });
  }
  bool has_series(std::string_view line) const { return metrics.render(false).contains(line); }
};

TEST_F(ServiceMonitorTest, IsNeitherStartedNorUpBeforeTheFirstProbe) {
  EXPECT_FALSE(monitor.health().started);
  EXPECT_FALSE(monitor.health().up);
  EXPECT_TRUE(monitor.health().serving);
}

TEST_F(ServiceMonitorTest, BuysADataKeyAtTheStartAndEveryTenMinutesOnly) {
  for (int i = 0; i < 60; ++i) {
    monitor.probe();
    clock.advance(std::chrono::seconds(10));
  }
  EXPECT_TRUE(monitor.health().up);
  EXPECT_EQ(provider.generated(), 1);
  EXPECT_EQ(provider.decrypted(), 59);
  monitor.probe();
  EXPECT_EQ(provider.generated(), 2);
}

TEST_F(ServiceMonitorTest, TellsTheProvidersOwnWordsWhenItIsDownAndRecovers) {
  monitor.probe();
  provider.fail_next(Error{.code = ErrorCode::kms_access_denied,
                           .message = "User: arn:aws:iam::1:role/r is not authorized",
                           .type = "AccessDeniedException"});
  monitor.probe();
  const auto down = monitor.health();
  EXPECT_FALSE(down.up);
  EXPECT_TRUE(has_series("kms_provider_up{provider=\"fake\"} 0\n"));
  EXPECT_EQ(down.error->type, "AccessDeniedException");
  EXPECT_NE(down.error->message.find("User: arn:aws:iam::1:role/r is not authorized"),
            std::string::npos);
  EXPECT_FALSE(monitor.issues().empty());
  monitor.probe();
  EXPECT_TRUE(monitor.health().up);
  EXPECT_TRUE(has_series("kms_provider_up{provider=\"fake\"} 1\n"));
  EXPECT_TRUE(monitor.issues().empty());
}

TEST_F(ServiceMonitorTest, CountsInNoBreaker) {
  provider.fail_always(ErrorCode::kms_unavailable);
  for (int i = 0; i < 100; ++i) monitor.probe();
  EXPECT_FALSE(validate()->passed());
  EXPECT_EQ(breaker.state(), BreakerState::closed);
}

TEST_F(ServiceMonitorTest, ReportsABreakerThatIsNotClosed) {
  monitor.probe();
  for (int i = 0; i < 10; ++i) {
    breaker.record(breaker.admit().value(), CircuitBreaker::Outcome::failure);
  }
  EXPECT_EQ(monitor.breakers().at(0).state, BreakerState::open);
  EXPECT_EQ(monitor.issues().at(0), "Circuit breaker 'kms-signing-key' is OPEN");
}

TEST_F(ServiceMonitorTest, ValidationPassesAllSixTestsAndLeavesNothingBehind) {
  const auto report = validate();
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->passed());
  std::vector<std::string> names;
  for (const auto& test : report->tests) names.push_back(test.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"generate_data_key", "encrypt", "decrypt", "describe_key",
                                      "key_retrieval_cache_miss", "key_retrieval_cache_hit"}));
  EXPECT_EQ(store.counts(call)->tenants, 0U);
  EXPECT_EQ(service->cache_report().private_keys.size, 0U);
}

TEST_F(ServiceMonitorTest, ValidationRunsEveryTestEvenAfterOneFailed) {
  provider.fail_next(ErrorCode::kms_access_denied);
  const auto report = validate();
  EXPECT_FALSE(report->passed());
  ASSERT_EQ(report->tests.size(), 6U);
  EXPECT_TRUE(report->tests[0].failure);
  EXPECT_FALSE(report->tests[1].failure);
  EXPECT_FALSE(report->tests[2].failure) << "what encrypt made can still be decrypted";
  EXPECT_FALSE(report->recommendations.empty());
}

TEST_F(ServiceMonitorTest, ValidationGivesEachCallFiveSeconds) {
  std::vector<std::chrono::steady_clock::duration> budgets;
  provider.on_call([&](const CallContext& attempt) {
    budgets.push_back(attempt.deadline - clock.steady_now());
    clock.advance(std::chrono::seconds(5));
  });
  provider.fail_always(ErrorCode::kms_timeout);
  EXPECT_FALSE(validate()->passed());
  for (const auto budget : budgets) EXPECT_EQ(budget, std::chrono::seconds(5));
}

TEST_F(ServiceMonitorTest, WarnsThatTheLocalProviderIsNotForProduction) {
  FakeProvider local("local", false);
  ServiceMonitor of_local{{local, {}, *service, provider_threads, clock, metrics}, {}};
  of_local.probe();
  EXPECT_NE(of_local.issues().at(0).find("NOT FOR PRODUCTION"), std::string::npos);
}

TEST_F(ServiceMonitorTest, NoticesALowHitRate) {
  monitor.probe();
  create(acme);
  for (int i = 0; i < 1001; ++i) {
    EXPECT_FALSE(sign(TenantId::parse("n" + std::to_string(i)).value(), "x"));
  }
  const auto issues = monitor.issues();
  EXPECT_TRUE(std::ranges::any_of(issues, [](const auto& issue) {
    return issue.find("Cache hit rate of privateKeys") != std::string::npos;
  }));
}

}  // namespace
}  // namespace betrace::kms
