#include "core/service_doctor.h"

#include "core/service_monitor.h"
#include "support/lifecycle_fakes.h"
#include "support/service_fixture.h"

namespace betrace::kms {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

struct ServiceDoctorTest : ServiceFixture {
  CircuitBreaker breaker{"kms-signing-key", {}, clock, [](const auto&, auto) {}};
  ServiceMonitor monitor{{provider, {&breaker}, *service, provider_threads, clock, metrics}, {}};
  FakeMigration migration;
  void SetUp() override { migration.known.holders.clear(); }
  HostFacts host;
  EvidenceFacts evidence;
  ConfigFacts config = [] {
    ConfigFacts facts;
    facts.provider = "fake";
    return facts;
  }();
  std::optional<ServiceDoctor> made;

  ServiceDoctor& doctor() {
    if (!made) {
      made.emplace(ServiceDoctor::Parts{.monitor = monitor,
                                        .keys = *service,
                                        .metrics = metrics,
                                        .store = store,
                                        .migration = migration,
                                        .clock = clock,
                                        .host = [this] { return host; },
                                        .evidence = [this] { return evidence; },
                                        .exchanges = {}},
                   config);
    }
    return *made;
  }
  std::vector<std::string> found() {
    std::vector<std::string> ids;
    for (const auto& each : doctor().report().findings) ids.push_back(each.id);
    return ids;
  }
  using Ids = std::vector<std::string>;
};

TEST_F(ServiceDoctorTest, FindsNothingBeforeAnythingWasRead) { EXPECT_EQ(found(), Ids{}); }

TEST_F(ServiceDoctorTest, FindsNothingInAHealthyService) {
  create(acme);
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(sign(acme, "x"));
  monitor.probe();
  doctor().refresh();
  EXPECT_EQ(found(), Ids{});
}

TEST_F(ServiceDoctorTest, AnswersFromTheLastProbe) {
  provider.fail_always(ErrorCode::kms_access_denied);
  monitor.probe();
  EXPECT_EQ(found(), Ids{"iam-denied"});
  provider.recover();
  EXPECT_EQ(found(), Ids{"iam-denied"}) << "nobody has asked since";
  monitor.probe();
  EXPECT_EQ(found(), Ids{});
}

TEST_F(ServiceDoctorTest, NeverCallsTheProvider) {
  monitor.probe();
  const auto before = provider.calls();
  doctor().refresh();
  (void)doctor().report();
  EXPECT_EQ(provider.calls(), before);
}

TEST_F(ServiceDoctorTest, SeesBreakersAsTheyAreNow) {
  (void)doctor();
  for (int i = 0; i < 10; ++i) {
    breaker.record(breaker.admit().value(), CircuitBreaker::Outcome::failure);
  }
  EXPECT_EQ(found(), Ids{"breaker-open"});
}

TEST_F(ServiceDoctorTest, SeesTenantsWhoseRotationIsOverdue) {
  create(acme);
  clock.advance(hours(24 * 90 + 23));
  doctor().refresh();
  EXPECT_EQ(found(), Ids{}) << "the next daily run will see to it";
  clock.advance(hours(2));
  doctor().refresh();
  EXPECT_EQ(found(), Ids{"rotation-overdue"});
  ASSERT_TRUE(rotate(acme));
  doctor().refresh();
  EXPECT_EQ(found(), Ids{});
}

TEST_F(ServiceDoctorTest, JudgesTheLastHourAlone) {
  for (int i = 0; i < 200; ++i)
    EXPECT_FALSE(sign(TenantId::parse("n" + std::to_string(i)).value(), "x"));
  (void)doctor();
  EXPECT_EQ(found(), Ids{"cache-hit-rate-low"});
  for (int i = 0; i < 130; ++i) {
    clock.advance(std::chrono::seconds(30));
    doctor().refresh();
  }
  EXPECT_EQ(found(), Ids{}) << "more than an hour ago";
}

TEST_F(ServiceDoctorTest, CountsCiphertextsThatWereRefusedForTheirContext) {
  create(acme);
  (void)doctor();
  const auto sealed = encrypt(acme, "x", {{"tenantId", "a"}});
  ASSERT_TRUE(sealed);
  EXPECT_FALSE(decrypt(acme, *sealed, {{"tenant_id", "a"}}));
  const auto report = doctor().report();
  ASSERT_EQ(report.findings.size(), 1U);
  EXPECT_EQ(report.findings[0].id, "context-mismatch");
  EXPECT_NE(report.findings[0].evidence.find("1 of 1"), std::string::npos);
}

TEST_F(ServiceDoctorTest, ShowsWhatTheMachineSays) {
  host.memory_locked = false;
  doctor().refresh();
  EXPECT_EQ(found(), Ids{"memory-lock"});
}

TEST_F(ServiceDoctorTest, ShowsThatTheEvidenceLogCannotBeUsed) {
  evidence.unusable = "another process uses it";
  doctor().refresh();
  EXPECT_EQ(found(), Ids{"evidence-log"});
  evidence = {};
  doctor().refresh();
  EXPECT_EQ(found(), Ids{});
}

TEST_F(ServiceDoctorTest, TellsAStoreThatDoesNotAnswerAndForgetsNothing) {
  monitor.probe();
  migration.known.holders = {{{"local", "local:1", 3}, true}};
  doctor().refresh();
  EXPECT_EQ(found(), Ids{"wrapped-elsewhere"});
  migration.next_error = Error{.code = ErrorCode::store_unavailable, .message = "disk I/O error"};
  doctor().refresh();
  EXPECT_EQ(found(), (Ids{"store-unavailable", "wrapped-elsewhere"}));
}

}  // namespace
}  // namespace betrace::kms
