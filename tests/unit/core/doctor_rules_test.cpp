#include "core/doctor_rules.h"

#include <algorithm>
#include <fstream>
#include <set>

#include "support/doctor_world.h"

namespace betrace::kms {
namespace {

using std::chrono::days;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

TEST_F(DoctorRules, FindNothingInAHealthyService) {
  const auto report = diagnose(facts);
  EXPECT_TRUE(report.findings.empty()) << names(report);
  EXPECT_TRUE(report.healthy());
}

TEST_F(DoctorRules, FindNothingWithoutFacts) {
  DoctorFacts nothing;
  nothing.config.provider = "aws";
  EXPECT_TRUE(diagnose(nothing).findings.empty());
}

TEST_F(DoctorRules, NameEachPermissionThatIsMissingAndNoOther) {
  for (std::size_t missing = 0; missing < 4; ++missing) {
    facts = healthy();
    fail_call(missing, ErrorCode::kms_access_denied, "User: me is not authorized");
    const auto it = only("iam-denied");
    EXPECT_EQ(it.severity, Severity::critical);
    EXPECT_EQ(it.manual, "Issue 1");
    EXPECT_EQ(it.title, std::string("Access denied: fake:") + operations[missing]);
    EXPECT_TRUE(holds(it.evidence, "User: me is not authorized"));
    EXPECT_EQ(it.cause, "as the provider explains it");
    EXPECT_TRUE(has(it, "fake fix key-1"));
  }
}

TEST_F(DoctorRules, NameAllMissingPermissionsInOneFinding) {
  for (std::size_t i = 0; i < 4; ++i) fail_call(i, ErrorCode::kms_access_denied, "no");
  facts.provider->probe.key.reset();
  const auto it = only("iam-denied");
  for (const auto* operation : operations) {
    EXPECT_TRUE(holds(it.evidence, std::string("fake:") + operation + ": no")) << it.evidence;
  }
}

TEST_F(DoctorRules, TellADisabledKeyFromOneThatIsGoingToBeDeleted) {
  for (std::size_t i = 0; i < 3; ++i)
    fail_call(i, ErrorCode::kms_key_disabled, "key-1 is disabled.");
  auto& key = *facts.provider->probe.key;
  key.state = "Disabled";
  key.usable = false;
  auto it = only("key-disabled");
  EXPECT_TRUE(holds(it.evidence, "key-1 is disabled."));
  EXPECT_EQ(it.manual, "Issue 2");

  key.state = "PendingDeletion";
  key.deletion_at = SystemTime(milliseconds(1'796'205'600'000));
  it = only("key-pending-deletion");
  EXPECT_TRUE(holds(it.evidence, "2026-12-02T10:00:00Z")) << it.evidence;
}

TEST_F(DoctorRules, TakeTheStateOfTheKeyAloneForReasonEnough) {
  facts.provider->probe.key->usable = false;
  facts.provider->probe.key->state = "Unavailable";
  EXPECT_TRUE(holds(only("key-disabled").evidence, "Unavailable"));
}

TEST_F(DoctorRules, CallAProviderThatDoesNotAnswerUnreachable) {
  for (const auto code : {ErrorCode::kms_timeout, ErrorCode::kms_unavailable}) {
    facts = healthy();
    for (std::size_t i = 0; i < 4; ++i) fail_call(i, code, "connecting to kms:443 failed");
    const auto it = only("provider-unreachable");
    EXPECT_EQ(it.severity, Severity::critical);
    EXPECT_TRUE(holds(it.evidence, "connecting to kms:443 failed"));
  }
}

TEST_F(DoctorRules, TellThrottlingFromAnOutage) {
  fail_call(0, ErrorCode::kms_unavailable, "Rate exceeded");
  facts.provider->probe.calls[0].error->throttled = true;
  EXPECT_EQ(only("provider-throttled").severity, Severity::warning);
}

TEST_F(DoctorRules, SayWhatElseTheProviderAnswers) {
  fail_call(2, ErrorCode::corrupt, "what was decrypted is not what was encrypted");
  EXPECT_EQ(only("provider-error").severity, Severity::critical);
}

TEST_F(DoctorRules, NameAContextThatTheProviderDoesNotTake) {
  fail_call(2, ErrorCode::invalid_ciphertext, std::string(context_mismatch_message));
  const auto it = only("context-mismatch");
  EXPECT_EQ(it.severity, Severity::critical);
  EXPECT_TRUE(holds(it.evidence, context_mismatch_message));
  EXPECT_EQ(it.manual, "Issue 8");
}

TEST_F(DoctorRules, WarnOfCallersWhoDecryptWithAnotherContext) {
  facts.usage->refused_ciphertexts = 3;
  const auto it = only("context-mismatch");
  EXPECT_EQ(it.severity, Severity::warning);
  EXPECT_TRUE(holds(it.evidence, "3 of 100")) << it.evidence;
  EXPECT_TRUE(holds(it.evidence, context_mismatch_message));
}

TEST_F(DoctorRules, TakeRowsThatTheProviderRefusesMoreSeriously) {
  facts.usage->refused_wrappings = 1;
  facts.usage->refused_ciphertexts = 1;
  EXPECT_EQ(only("context-mismatch").severity, Severity::critical);
}

TEST_F(DoctorRules, CallSlowWhatWasSlowAtEveryTry) {
  auto& call = facts.provider->probe.calls[0];
  call.latency = milliseconds(201);
  facts.provider->phases = HttpPhases{.resolve = milliseconds(1),
                                      .connect = milliseconds(3),
                                      .tls = milliseconds(10),
                                      .first_byte = milliseconds(220),
                                      .total = milliseconds(221)};
  const auto it = only("high-latency");
  EXPECT_EQ(it.severity, Severity::warning);
  EXPECT_TRUE(holds(it.evidence, "generate_data_key 201 ms"));
  EXPECT_TRUE(holds(it.evidence, "resolve 1.0 ms, connect 2.0 ms, TLS 7.0 ms, first byte 210.0 ms"))
      << it.evidence;
  call.tries = 2;
  EXPECT_TRUE(diagnose(facts).findings.empty()) << "two slow calls are chance";
  call.tries = 3;
  call.latency = milliseconds(200);
  EXPECT_TRUE(diagnose(facts).findings.empty());
}

TEST_F(DoctorRules, BlameTheClockBeforeThePolicy) {
  for (std::size_t i = 0; i < 4; ++i) {
    fail_call(i, ErrorCode::kms_access_denied, "Signature expired");
  }
  facts.provider->probe.key.reset();
  facts.provider->clock_skew = seconds(-1200);
  const auto it = only("clock-skew");
  EXPECT_EQ(it.severity, Severity::critical);
  EXPECT_TRUE(holds(it.title, "1200 s behind")) << it.title;
  EXPECT_TRUE(holds(it.evidence, "Signature expired"));
}

TEST_F(DoctorRules, WarnOfAClockThatIsOffByMoreThanAMinute) {
  facts.provider->clock_skew = seconds(60);
  EXPECT_TRUE(diagnose(facts).findings.empty());
  facts.provider->clock_skew = seconds(61);
  const auto it = only("clock-skew");
  EXPECT_EQ(it.severity, Severity::warning);
  EXPECT_TRUE(has(it, "timedatectl set-ntp true"));
}

TEST_F(DoctorRules, WarnOfTheLocalProviderAndAlarmWhereOthersAreServed) {
  facts.config.provider = "local";
  auto it = only("local-in-production");
  EXPECT_EQ(it.severity, Severity::warning);
  EXPECT_EQ(it.manual, "Issue 3");
  EXPECT_TRUE(has(it, "echo betrace.kms.provider=aws >> /etc/betrace/application.properties"))
      << it.remedy.at(1);
  facts.config.beyond_loopback = true;
  EXPECT_EQ(only("local-in-production").severity, Severity::critical);
}

TEST_F(DoctorRules, NameTheProvidersThatThereAre) {
  facts.provider.reset();
  facts.config.provider = "vault";
  facts.config.refused = "KMS provider 'vault' is not in this release yet";
  facts.config.provider_unsupported = true;
  facts.config.providers_available = {"local", "aws"};
  const auto it = only("unsupported-provider");
  EXPECT_EQ(it.manual, "Issue 6");
  EXPECT_TRUE(holds(it.cause, "local, aws"));
  EXPECT_TRUE(has(it, "echo betrace.kms.provider=aws >> /etc/betrace/application.properties"));
  facts.config.provider_unsupported = false;
  EXPECT_EQ(only("configuration-invalid").severity, Severity::critical);
}

TEST_F(DoctorRules, PassOnWhatTheProviderDoubtsOfItsSettings) {
  remedies.doubted = {{.finding = finding("region-mismatch", Severity::warning, "t"),
                       .advice = {.settings = {{"aws.kms.region", "eu-west-1"}}}}};
  const auto it = only("region-mismatch");
  EXPECT_TRUE(has(it, "echo aws.kms.region=eu-west-1 >> /etc/betrace/application.properties"));
  EXPECT_TRUE(has(it, restart_command));
}

TEST_F(DoctorRules, QuoteKeysThatNobodyKnows) {
  facts.config.unknown_keys = {"unknown configuration key kms.cash.max-size (-D)"};
  EXPECT_TRUE(holds(only("unknown-configuration").evidence, "kms.cash.max-size"));
}

TEST_F(DoctorRules, AlarmAboutAnOpenBreakerUnlessItsCauseIsSaid) {
  facts.breakers[0].state = BreakerState::open;
  auto it = only("breaker-open");
  EXPECT_EQ(it.severity, Severity::critical);
  EXPECT_EQ(it.manual, "Issue 10");
  EXPECT_TRUE(holds(it.evidence, "Circuit breaker 'kms-signing-key' is OPEN"));

  for (std::size_t i = 0; i < 4; ++i) fail_call(i, ErrorCode::kms_timeout, "silence");
  const auto report = diagnose(facts);
  ASSERT_EQ(report.findings.size(), 2U);
  EXPECT_EQ(report.findings[0].id, "provider-unreachable");
  EXPECT_EQ(report.findings[1].severity, Severity::warning);
}

TEST_F(DoctorRules, WarnOfABreakerOnTrial) {
  facts.breakers[0].state = BreakerState::half_open;
  EXPECT_EQ(only("breaker-open").severity, Severity::warning);
}

TEST_F(DoctorRules, CallRotationOverdueAndSayWhetherItIsOff) {
  facts.store->overdue_tenants = 2;
  facts.store->oldest_active_key = facts.now - days(95);
  auto it = only("rotation-overdue");
  EXPECT_EQ(it.severity, Severity::critical);
  EXPECT_TRUE(holds(it.title, "2 of 7 tenants"));
  EXPECT_TRUE(holds(it.evidence, "95 days old"));
  EXPECT_TRUE(has(it, "betrace-kms rotate --all"));
  EXPECT_FALSE(holds(it.remedy.front(), "kms.rotation.enabled"));

  facts.config.rotation_enabled = false;
  it = only("rotation-overdue");
  EXPECT_TRUE(holds(it.remedy.front(), "kms.rotation.enabled=true"));

  facts.store->overdue_tenants = 0;
  EXPECT_EQ(only("rotation-off").severity, Severity::warning);
}

TEST_F(DoctorRules, SayThatTheStoreDoesNotAnswer) {
  facts.store->error = Error{.code = ErrorCode::store_unavailable, .message = "disk I/O error"};
  EXPECT_TRUE(holds(only("store-unavailable").evidence, "disk I/O error"));
}

TEST_F(DoctorRules, SayWhyNoComplianceSpansAreSigned) {
  facts.evidence = EvidenceFacts{.folder = "/var/lib/betrace/evidence"};
  EXPECT_TRUE(diagnose(facts).findings.empty());
  facts.evidence->unusable = "another process uses it";
  auto it = only("evidence-log");
  EXPECT_EQ(it.severity, Severity::critical);
  EXPECT_TRUE(holds(it.evidence, "another process uses it"));
  EXPECT_TRUE(has(it, "ls -la /var/lib/betrace/evidence"));
  facts.evidence->unusable.clear();
  facts.evidence->unpublished = "No space left on device";
  it = only("evidence-log");
  EXPECT_EQ(it.severity, Severity::warning);
  EXPECT_TRUE(holds(it.evidence, "No space left on device"));
}

TEST_F(DoctorRules, SayThatOtlpIsNotTakenByTheNextInLine) {
  facts.evidence = EvidenceFacts{.next_in_line = "http://collector:4318",
                                 .queue_bytes = 499 << 20,
                                 .queue_bytes_max = 1000 << 20};
  EXPECT_TRUE(diagnose(facts).findings.empty());
  facts.evidence->queue_bytes = 500 << 20;
  auto it = only("otlp-queue");
  EXPECT_EQ(it.severity, Severity::warning);
  EXPECT_TRUE(holds(it.title, "500 MiB"));
  EXPECT_TRUE(holds(it.evidence, "http://collector:4318 has not taken them; when 1000 MiB wait"));
  EXPECT_TRUE(has(it, "curl -sv -o /dev/null http://collector:4318"));
  facts.evidence->queue_bytes = 900 << 20;
  EXPECT_EQ(only("otlp-queue").severity, Severity::critical);
  facts.evidence->next_in_line.clear();
  EXPECT_TRUE(diagnose(facts).findings.empty()) << "nothing waits for nobody";
}

TEST_F(DoctorRules, SayThatTheServiceDoesNotAnswer) {
  facts.service_unreachable = "cannot reach the service at http://127.0.0.1:8080";
  EXPECT_EQ(only("service-unreachable").severity, Severity::warning);
}

TEST_F(DoctorRules, JudgeAHitRateOnlyAfterAHundredLookups) {
  facts.usage->signing = {.hits = 0, .misses = 99};
  EXPECT_TRUE(diagnose(facts).findings.empty());
  facts.usage->signing = {.hits = 45, .misses = 55};
  const auto it = only("cache-hit-rate-low");
  EXPECT_EQ(it.severity, Severity::warning);
  EXPECT_EQ(it.manual, "Issue 5");
  EXPECT_TRUE(holds(it.evidence, "45 hits, 55 misses, 45 %")) << it.evidence;
  facts.usage->signing = {.hits = 80, .misses = 20};
  EXPECT_TRUE(diagnose(facts).findings.empty()) << "the target is 80 %";
}

TEST_F(DoctorRules, SayWhatALargerCacheWouldHaveGiven) {
  facts.usage->signing = {.hits = 40, .misses = 60};
  facts.usage->signing.larger = {10, 50, 50};
  const auto it = only("cache-hit-rate-low");
  EXPECT_TRUE(holds(it.cause,
                    "kms.cache.max-size=4000 would have given signing keys a hit rate of "
                    "90 %"))
      << it.cause;
  EXPECT_TRUE(has(it, "echo kms.cache.max-size=4000 >> /etc/betrace/application.properties"));
}

TEST_F(DoctorRules, SayWhatALongerLifeWouldHaveGiven) {
  facts.usage->encryption = {.hits = 40, .misses = 60};
  facts.usage->encryption.longer = {55, 55, 56};
  const auto it = only("cache-hit-rate-low");
  EXPECT_TRUE(holds(it.cause, "kms.cache.encryption-key-ttl-minutes=120")) << it.cause;
}

TEST_F(DoctorRules, AdviseWarmingWhereNoLimitWouldHaveHelped) {
  facts.usage->signing = {.hits = 0, .misses = 200};
  EXPECT_TRUE(holds(only("cache-hit-rate-low").remedy.front(), "kms.cache.warm-tenants"));
}

TEST_F(DoctorRules, CallMoreThanAThousandMissesAnHourExpensiveAndSayTheBill) {
  facts.usage->signing = {.hits = 90'000, .misses = 991};
  EXPECT_TRUE(diagnose(facts).findings.empty()) << "a thousand, with the nine of encryption";
  facts.usage->signing.misses = 1991;
  const auto it = only("high-cost");
  EXPECT_EQ(it.manual, "Issue 9");
  // 2000 × 24 × 30 = 1,440,000 calls: 144 × $0.03.
  EXPECT_TRUE(holds(it.evidence, "1440000 calls: $4.32")) << it.evidence;
}

TEST_F(DoctorRules, PutTheMissStormBeforeTheHitRateThatComesWithIt) {
  facts.usage->signing = {.hits = 0, .misses = 5000};
  const auto report = diagnose(facts);
  ASSERT_EQ(report.findings.size(), 2U) << names(report);
  EXPECT_EQ(report.findings[0].id, "high-cost");
}

TEST_F(DoctorRules, WarnBeforeTheCertificateEndsAndAlarmAfterwards) {
  facts.host.certificate->expires_at = facts.now + days(30);
  EXPECT_EQ(only("tls-expiry").severity, Severity::warning);
  facts.host.certificate->expires_at = facts.now - seconds(1);
  EXPECT_EQ(only("tls-expiry").severity, Severity::critical);
  facts.host.certificate->expires_at.reset();
  facts.host.certificate->error = "No such file";
  EXPECT_TRUE(holds(only("tls-expiry").evidence, "No such file"));
}

TEST_F(DoctorRules, WarnOfADiskThatFillsUp) {
  facts.host.disk->free_bytes = (512U << 20) - 1;
  EXPECT_EQ(only("disk-space").severity, Severity::warning);
  facts.host.disk->free_bytes = 1U << 20;
  EXPECT_EQ(only("disk-space").severity, Severity::critical);
}

TEST_F(DoctorRules, TellTokensThatOthersReadFromOtherFiles) {
  facts.host.open_files = {
      {.path = "/data/admin token", .mode = 0644, .wanted = 0600, .token = true}};
  const auto it = only("token-readable");
  EXPECT_TRUE(holds(it.evidence, "mode 0644"));
  EXPECT_TRUE(has(it, "chmod 600 '/data/admin token'"));
  facts.host.open_files[0].token = false;
  only("file-modes");
  facts.host.open_files.clear();
  facts.config.open_secrets = {"secret file 'x' is readable by others"};
  only("token-readable");
}

TEST_F(DoctorRules, RefuseASchemaFromTheFutureAndMentionAnOldOne) {
  facts.host.schema->version = 3;
  EXPECT_EQ(only("schema-version").severity, Severity::critical);
  facts.host.schema->version = 1;
  EXPECT_EQ(only("schema-version").severity, Severity::info);
  facts.host.schema->error = "not a SQLite database";
  EXPECT_EQ(only("schema-version").severity, Severity::critical);
}

TEST_F(DoctorRules, WarnOfMemoryThatIsNotLocked) {
  facts.host.memory_locked = false;
  EXPECT_EQ(only("memory-lock").severity, Severity::warning);
}

TEST(DoctorReports, AreSortedWorstFirstWithoutDoubles) {
  const auto report = in_order({finding("disk-space", Severity::warning, "a"),
                                finding("wrapped-elsewhere", Severity::info, "b"),
                                finding("high-latency", Severity::warning, "c"),
                                finding("disk-space", Severity::critical, "d"),
                                finding("iam-denied", Severity::critical, "e")});
  std::vector<std::string> titles;
  for (const auto& each : report.findings) titles.push_back(each.title);
  EXPECT_EQ(titles, (std::vector<std::string>{"e", "d", "c", "b"}));
}

TEST(DoctorReports, LeaveOutWhatAnotherFindingSaysMoreFully) {
  const auto report = in_order({finding("rotation-off", Severity::warning, "a"),
                                finding("key-disabled", Severity::critical, "b"),
                                finding("key-pending-deletion", Severity::critical, "c"),
                                finding("rotation-overdue", Severity::critical, "d")});
  std::vector<std::string> titles;
  for (const auto& each : report.findings) titles.push_back(each.title);
  EXPECT_EQ(titles, (std::vector<std::string>{"c", "d"}));
}

TEST(DoctorReports, CallAnOpenBreakerAConsequenceWhoeverSawItsCause) {
  const auto report = in_order({finding("provider-unreachable", Severity::critical, "live"),
                                finding("breaker-open", Severity::critical, "of the service")});
  EXPECT_EQ(report.findings.at(0).id, "provider-unreachable");
  EXPECT_EQ(report.findings.at(1).severity, Severity::warning);
}

TEST(DoctorCommands, QuoteWhatAShellWouldTakeApart) {
  EXPECT_EQ(shell_word("/etc/a-b.c"), "/etc/a-b.c");
  EXPECT_EQ(shell_word("it's $HOME"), "'it'\\''s $HOME'");
  EXPECT_EQ(shell_word(""), "''");
}

TEST(DoctorDocumentation, HasEveryFindingAndNoOther) {
  std::ifstream file(BETRACE_SOURCE_DIR "/docs/doctor.md");
  ASSERT_TRUE(file);
  std::set<std::string> documented, kinds;
  for (std::string line; std::getline(file, line);) {
    // | `iam-denied` | …
    if (line.starts_with("| `")) documented.insert(line.substr(3, line.find('`', 3) - 3));
  }
  for (const auto& kind : finding_kinds()) kinds.emplace(kind.id);
  EXPECT_EQ(documented, kinds);
}

}  // namespace
}  // namespace betrace::kms
