// Rotation of every tenant that is due: one run, its interruptions, its schedule.
#include <algorithm>

#include "core/rotation_note.h"
#include "support/life_fixture.h"

namespace betrace::kms {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

struct RotationTest : LifeFixture {
  static TenantId tenant(int n) { return TenantId::parse("t" + std::to_string(n)).value(); }
  void create_many(int count) {
    for (int n = 0; n < count; ++n) create(tenant(n));
    clock.advance(milliseconds(1));
  }
  std::uint32_t version(int n, KeyType type = KeyType::signing) {
    return active(tenant(n), type).version;
  }
  // Every tenant has exactly this many versions of each key, one of them active.
  void expect_versions(int tenants, std::uint32_t versions) {
    for (int n = 0; n < tenants; ++n) {
      EXPECT_EQ(version(n), versions) << n;
      EXPECT_EQ(version(n, KeyType::encryption), versions) << n;
      EXPECT_EQ(store.list_keys(call, tenant(n))->size(), versions * 2) << n;
    }
  }
  Result<RotationRun> start(Daemon& on, RotationRequest request = {}) {
    return wait<RotationRun>(
        [&](auto done) { on.rotation.start(call, std::move(request), std::move(done)); });
  }
  RotationRun status(Daemon& on) {
    return wait<RotationRun>([&](auto done) { on.rotation.status(call, std::move(done)); }).value();
  }
  // Begins a run and does it.
  RotationRun run(Daemon& on, RotationRequest request = {}) {
    const auto begun = start(on, std::move(request));
    EXPECT_TRUE(begun) << begun.error().message;
    on.rotation.tick({});
    return status(on);
  }
  std::uint64_t rotated_by_the_note() {
    const auto text = store.find_note(call, latest_rotation_note).value();
    return parse_rotation_run(text.value()).value().rotated_tenants;
  }
  static constexpr RotationOptions small{.batch_size = 3};
};

TEST_F(RotationTest, ReachesEveryDueTenantInOneRunHoweverManyAndNoOther) {
  create_many(20);
  clock.advance(days(91));
  create(acme);
  const auto one = daemon("one", small);
  const auto done = run(*one);
  EXPECT_EQ(done.state, RotationRun::State::complete);
  EXPECT_EQ(done.rotated_tenants, 20U);
  EXPECT_EQ(done.total_tenants, 20U);
  EXPECT_EQ(done.failed_tenants, 0U);
  EXPECT_EQ(done.signing_keys, 20U);
  EXPECT_EQ(done.encryption_keys, 20U);
  EXPECT_TRUE(done.finished_at);
  expect_versions(20, 2);
  EXPECT_EQ(active(acme).version, 1U);
}

TEST_F(RotationTest, ForceRotatesTheYoungAsWellAndEachOnce) {
  create_many(7);
  const auto one = daemon("one", small);
  EXPECT_EQ(run(*one, {.force = true}).rotated_tenants, 7U);
  expect_versions(7, 2);
}

TEST_F(RotationTest, InParallelItIsTheSame) {
  create_many(20);
  const auto one = daemon("one", {.batch_size = 6, .parallel = 4});
  EXPECT_EQ(run(*one, {.force = true}).rotated_tenants, 20U);
  expect_versions(20, 2);
}

TEST_F(RotationTest, OneOldKeyIsRotatedAlone) {
  create(acme);
  ASSERT_TRUE(store.edit_key(active(acme).id,
                             [&](KeyRecord& row) { row.created_at = clock.now() - days(91); }));
  const auto one = daemon("one");
  // The record was edited by hand, which its attestation does not cover; the key itself is sound.
  EXPECT_EQ(run(*one).encryption_keys, 0U);
  EXPECT_EQ(active(acme).version, 2U);
  EXPECT_EQ(active(acme, KeyType::encryption).version, 1U);
}

TEST_F(RotationTest, AFailedTenantIsReportedStopsNoOtherAndIsTriedAtTheNextRun) {
  create_many(5);
  const auto broken = active(tenant(2));
  const auto good = store.find_key(call, tenant(2), KeyType::signing, 1)->wrappings[0].blob;
  ASSERT_TRUE(store.edit_key(broken.id, [](KeyRecord& row) { row.wrappings[0].blob[20] ^= 1; }));
  const auto one = daemon("one", small);
  const auto done = run(*one, {.force = true});
  EXPECT_EQ(done.rotated_tenants, 4U);
  EXPECT_EQ(done.failed_tenants, 1U);
  ASSERT_EQ(done.failures.size(), 1U);
  EXPECT_EQ(done.failures[0].tenant, "t2");
  EXPECT_TRUE(done.failures[0].error.starts_with("corrupt: ")) << done.failures[0].error;
  EXPECT_EQ(version(2), 1U);
  ASSERT_TRUE(store.edit_key(broken.id, [&](KeyRecord& row) { row.wrappings[0].blob = good; }));
  clock.advance(days(91));
  EXPECT_EQ(run(*one).failed_tenants, 0U);
  EXPECT_EQ(version(2), 2U);
}

TEST_F(RotationTest, AShortOutageIsWaitedForAndNobodyFails) {
  create_many(5);
  const auto one = daemon("one", small);
  provider.fail_next(ErrorCode::kms_unavailable, 4);
  const auto done = run(*one, {.force = true});
  EXPECT_EQ(done.failed_tenants, 0U);
  EXPECT_EQ(done.rotated_tenants, 5U);
  expect_versions(5, 2);
}

TEST_F(RotationTest, ALongOutageFailsTheRunAndNothingElse) {
  create_many(3);
  const auto one = daemon("one", small);
  provider.fail_always(ErrorCode::kms_unavailable);
  const auto done = run(*one, {.force = true});
  EXPECT_EQ(done.state, RotationRun::State::complete);
  EXPECT_EQ(done.failed_tenants, 3U);
  EXPECT_LT(clock.slept(), minutes(2));
  provider.recover();
  expect_versions(3, 1);
}

TEST_F(RotationTest, WhileOneRunsAnotherIsRefusedOnEveryDaemon) {
  create_many(3);
  const auto one = daemon("one"), two = daemon("two");
  ASSERT_TRUE(start(*one, {.force = true}));
  EXPECT_EQ(start(*one, {.force = true}).error().code, ErrorCode::rotation_running);
  EXPECT_EQ(start(*two, {.force = true}).error().code, ErrorCode::rotation_running);
  EXPECT_EQ(status(*two).state, RotationRun::State::running);
  EXPECT_EQ(status(*two).node, "one");
  one->rotation.tick({});
  EXPECT_TRUE(start(*two, {.force = true}));
}

TEST_F(RotationTest, ARunThatACrashInterruptsGoesOnElsewhereAndRotatesNobodyTwice) {
  create_many(10);
  auto dying = daemon("dying", small);
  int commits = 0;
  std::stop_source killed;
  store.before_each([&](std::string_view verb) -> Status {
    if (verb == "commit_each" && ++commits > 2) killed.request_stop();
    return commits > 2 ? Status(fail(ErrorCode::store_unavailable, "killed")) : Status();
  });
  ASSERT_TRUE(start(*dying, {.force = true}));
  dying->rotation.tick(killed.get_token());
  store.before_each({});
  const auto two = daemon("two", small);
  EXPECT_EQ(status(*two).state, RotationRun::State::running) << "the lease still stands";
  two->rotation.tick({});
  clock.advance(lease + seconds(1));
  EXPECT_EQ(status(*two).state, RotationRun::State::interrupted);
  for (int i = 0; i < 6; ++i) two->rotation.tick({});
  const auto done = status(*two);
  EXPECT_EQ(done.state, RotationRun::State::complete);
  EXPECT_EQ(done.trigger, "resumed");
  EXPECT_EQ(done.node, "two");
  EXPECT_EQ(done.rotated_tenants, 10U);
  expect_versions(10, 2);
}

TEST_F(RotationTest, ABatchAndHowFarTheRunIsAreOneTransaction) {
  create_many(7);
  const auto one = daemon("one", small);
  std::vector<std::uint64_t> noted;
  int commits = 0;
  ASSERT_TRUE(start(*one, {.force = true}));
  store.before_each([&](std::string_view verb) -> Status {
    if (verb == "commit") ++commits;
    if (verb == "commit_each") noted.push_back(rotated_by_the_note());
    return {};
  });
  one->rotation.tick({});
  store.before_each({});
  EXPECT_EQ(noted, (std::vector<std::uint64_t>{0, 3, 6}));
  EXPECT_EQ(rotated_by_the_note(), 7U);
  EXPECT_EQ(commits, 1) << "the end of the run alone";
}

TEST_F(RotationTest, WhatWasOvertakenIsNotCountedByTheNote) {
  create_many(7);
  const auto one = daemon("one", small), two = daemon("two");
  std::vector<std::uint64_t> noted;
  ASSERT_TRUE(start(*one, {.force = true}));
  store.before_each([&](std::string_view verb) -> Status {
    if (verb != "commit_each") return {};
    noted.push_back(rotated_by_the_note());
    if (noted.size() > 1) return {};
    EXPECT_TRUE(wait<std::vector<KeyRecord>>(
        [&](auto done) { two->service->rotate(call, tenant(1), std::move(done)); }));
    return {};
  });
  one->rotation.tick({});
  store.before_each({});
  ASSERT_GE(noted.size(), 2U);
  EXPECT_EQ(noted[1], 2U);
  expect_versions(7, 2);
}

TEST_F(RotationTest, ARunnerThatHasLostItsLeaseStoresNothing) {
  create_many(4);
  const auto asleep = daemon("asleep");
  ASSERT_TRUE(start(*asleep, {.force = true}));
  clock.advance(lease + seconds(1));
  const auto two = daemon("two");
  for (int i = 0; i < 6; ++i) two->rotation.tick({});
  EXPECT_EQ(status(*two).state, RotationRun::State::complete);
  const auto generation = store.generation(call).value();
  asleep->rotation.tick({});
  EXPECT_EQ(store.generation(call).value(), generation);
  expect_versions(4, 2);
}

TEST_F(RotationTest, TheCallBudgetHoldsBackTheProvider) {
  create_many(10);
  const auto one = daemon("one", {.calls_per_second = 3});
  const auto calls = provider.calls();
  const auto begun = clock.steady_now();
  run(*one, {.force = true});
  const auto took = std::chrono::duration<double>(clock.steady_now() - begun).count();
  EXPECT_GE(took, 9);
  EXPECT_LE((provider.calls() - calls) / took, 3.5) << "and one for the service key";
}

TEST_F(RotationTest, StaggerPausesBetweenTenants) {
  create_many(5);
  const auto one = daemon("one");
  const auto slept = clock.slept();
  run(*one, {.force = true, .stagger = seconds(2)});
  EXPECT_GE(clock.slept() - slept, seconds(8));
  expect_versions(5, 2);
}

TEST_F(RotationTest, WhileCallersUseKeysItTakesBreathsAndLosesNobody) {
  create_many(20);
  const auto one = daemon("one", small);
  const auto run_of = [&](bool used) {
    provider.on_call([&, used](const CallContext&) {
      if (used) metrics.signatures.Increment();
    });
    clock.advance(milliseconds(1));
    const auto slept = clock.slept();
    EXPECT_EQ(run(*one, {.force = true}).rotated_tenants, 20U);
    return clock.slept() - slept;
  };
  EXPECT_EQ(run_of(false).count(), 0);
  EXPECT_GT(run_of(true).count(), 0);
  expect_versions(20, 3);
}

TEST_F(RotationTest, ADestroyedTenantIsNoFailure) {
  create_many(3);
  const auto one = daemon("one");
  ASSERT_TRUE(start(*one, {.force = true}));
  ASSERT_TRUE(store.commit(call, {change::CloseTenant{tenant(1)}}));
  one->rotation.tick({});
  EXPECT_EQ(status(*one).failed_tenants, 0U);
  EXPECT_EQ(status(*one).rotated_tenants, 2U);
}

TEST_F(RotationTest, OldSignaturesVerifyAndSeedsGoAfterTheirDays) {
  create(acme);
  const auto signature = sign(acme, "evidence").value();
  const auto sealed = encrypt(acme, "pii").value();
  clock.advance(milliseconds(1));
  const auto one = daemon("one");
  run(*one, {.force = true});
  clock.advance(days(7));
  ASSERT_TRUE(one->rotation.destroy_old_seeds());
  EXPECT_FALSE(store.find_key(call, acme, KeyType::signing, 1)->secret_destroyed_at);
  clock.advance(seconds(1));
  ASSERT_TRUE(one->rotation.destroy_old_seeds());
  const auto old = store.find_key(call, acme, KeyType::signing, 1);
  EXPECT_TRUE(old->secret_destroyed_at);
  EXPECT_TRUE(old->wrappings.empty());
  EXPECT_EQ(old->state, KeyState::rotated);
  service = restart();
  const auto verified = verify(acme, "evidence", signature.bytes);
  EXPECT_TRUE(verified->valid && verified->trusted);
  EXPECT_EQ(decrypt(acme, sealed), "pii") << "encryption keys stay until they are retired";
}

TEST_F(RotationTest, TheOverdueMetricFallsWhenAllAreRotated) {
  create_many(3);
  clock.advance(days(100));
  const auto one = daemon("one");
  ASSERT_TRUE(one->service->refresh_metrics());
  EXPECT_NE(metrics.render(false).find("kms_last_rotation_timestamp_seconds 1763856000"),
            std::string::npos);
  run(*one);
  EXPECT_NE(metrics.render(false).find("kms_last_rotation_timestamp_seconds 1772496"),
            std::string::npos)
      << metrics.render(false);
}

TEST_F(RotationTest, TheReportNamesWhatWasRotatedAndWhatIsOverdue) {
  create_many(3);
  clock.advance(days(91));
  create(acme);
  const auto one = daemon("one");
  const auto report = [&] {
    return wait<RotationReport>([&](auto done) {
             one->rotation.report(call, clock.now() - days(1), clock.now() + days(1),
                                  std::move(done));
           })
        .value();
  };
  EXPECT_EQ(report().overdue, 3U);
  run(*one);
  const auto after = report();
  EXPECT_EQ(after.overdue, 0U);
  EXPECT_EQ(after.tenants, 4U);
  EXPECT_EQ(after.rotated.size(), 6U);
  ASSERT_EQ(after.runs.size(), 1U);
  EXPECT_EQ(after.runs[0].rotated_tenants, 3U);
  EXPECT_FALSE(after.truncated);
}

TEST_F(RotationTest, WhatIsDueIsListedByAgeAPageAtATime) {
  create_many(3);
  clock.advance(days(91));
  const auto one = daemon("one");
  const auto page = [&](AgePlace after) {
    return wait<std::vector<DueKey>>(
               [&](auto done) { one->rotation.due(call, after, 4, std::move(done)); })
        .value();
  };
  const auto first = page({});
  ASSERT_EQ(first.size(), 4U);
  EXPECT_EQ(first[0].age, days(91));
  const auto& last = first.back().key;
  EXPECT_EQ(page({last.created_at, last.tenant.str(), last.type}).size(), 2U);
}

// --- clocks -------------------------------------------------------------------------------------

TEST_F(RotationTest, AClockThatGoesBackAnHourRotatesNobodyTwiceInARun) {
  create_many(4);
  clock.advance(hours(2));
  const auto one = daemon("one", {.batch_size = 1});
  ASSERT_TRUE(start(*one, {.force = true}));
  clock.step(-hours(1));
  one->rotation.tick({});
  EXPECT_EQ(status(*one).rotated_tenants, 4U);
  expect_versions(4, 2);
  EXPECT_EQ(run(*one).rotated_tenants, 0U);
}

TEST_F(RotationTest, KeysOfAClockThatWasAYearAheadAreReplacedWhenItIsRightAgain) {
  clock.step(days(365));
  create_many(2);
  const auto signature = sign(tenant(0), "x").value();
  clock.step(-days(365));
  const auto one = daemon("one");
  const auto done = run(*one);
  EXPECT_EQ(done.rotated_tenants, 2U);
  expect_versions(2, 2);
  EXPECT_LE(active(tenant(0)).created_at, clock.now());
  service = restart();
  EXPECT_TRUE(verify(tenant(0), "x", signature.bytes)->valid);
}

TEST_F(RotationTest, AClockAYearAheadRotatesEverybodyOnce) {
  create_many(3);
  const auto one = daemon("one");
  clock.step(days(365));
  EXPECT_EQ(run(*one).rotated_tenants, 3U);
  EXPECT_EQ(run(*one).rotated_tenants, 0U);
  expect_versions(3, 2);
}

// --- schedule -----------------------------------------------------------------------------------

struct ScheduleTest : RotationTest {
  static constexpr auto at_two = "0 0 2 * * ?";  // the fixture's clock begins at midnight
  void tick(Daemon& on) {
    clock.advance(seconds(1));
    on.rotation.tick({});
  }
};

TEST_F(ScheduleTest, RunsAtItsTimeAndSaysWhenTheNextOneIs) {
  create_many(2);
  clock.advance(days(91));
  const auto one = daemon("one", {}, at_two);
  tick(*one);
  EXPECT_FALSE(one->rotation.schedule().last_execution);
  const auto midnight = std::chrono::floor<days>(clock.now());
  EXPECT_EQ(one->rotation.schedule().next_execution, midnight + hours(2));
  expect_versions(2, 1);
  clock.advance(hours(2));
  tick(*one);
  expect_versions(2, 2);
  EXPECT_EQ(status(*one).trigger, "schedule");
  EXPECT_TRUE(one->rotation.schedule().last_execution);
  EXPECT_GT(*one->rotation.schedule().next_execution, clock.now() + hours(21));
}

TEST_F(ScheduleTest, WhatWouldBeOverdueBeforeTheNextRunIsRotatedInThisOne) {
  clock.advance(hours(3));
  create_many(2);
  const auto one = daemon("one", {}, at_two);
  tick(*one);
  clock.advance(days(89) - hours(1) - minutes(5));  // 01:55, a day and an hour before they are old
  tick(*one);
  clock.advance(minutes(5));
  tick(*one);
  expect_versions(2, 1);
  clock.advance(days(1));  // an hour before: at the next run they would be 23 hours late
  tick(*one);
  expect_versions(2, 2);
}

TEST_F(ScheduleTest, ARareScheduleLooksATenthOfTheAgeAheadAndNoMore) {
  const auto one = daemon("one", {}, "0 0 2 1 1 ?");
  tick(*one);
  const auto next = *one->rotation.schedule().next_execution;
  clock.step(next - days(82) - clock.now());
  create(tenant(0));
  clock.step(days(2));
  create(tenant(1));
  clock.step(next - clock.now());
  tick(*one);
  EXPECT_EQ(version(0), 2U);
  EXPECT_EQ(version(1), 1U);
}

TEST_F(ScheduleTest, WhatWasMissedWhileNobodyRanRunsAtStart) {
  create_many(2);
  {
    const auto one = daemon("one", {}, at_two);
    tick(*one);
  }
  clock.advance(days(91) + hours(5));
  const auto again = daemon("again", {}, at_two);
  tick(*again);
  expect_versions(2, 2);
  tick(*again);
  expect_versions(2, 2);
}

TEST_F(ScheduleTest, OnAFreshStoreNothingWasMissed) {
  clock.advance(hours(5));
  const auto one = daemon("one", {}, at_two);
  tick(*one);
  EXPECT_EQ(status(*one).id, "");
}

TEST_F(ScheduleTest, OfSeveralDaemonsOneRunsIt) {
  create_many(2);
  const auto one = daemon("one", {}, at_two), two = daemon("two", {}, at_two);
  tick(*one);
  tick(*two);
  clock.advance(days(91) + hours(2));
  tick(*one);
  const auto first = status(*one).id;
  tick(*two);
  EXPECT_EQ(status(*two).id, first);
  EXPECT_TRUE(two->rotation.schedule().last_execution);
}

TEST_F(ScheduleTest, OffNeverRuns) {
  create_many(1);
  clock.advance(days(200));
  const auto one = daemon("one", {}, "off");
  tick(*one);
  EXPECT_EQ(version(0), 1U);
  EXPECT_FALSE(one->rotation.schedule().enabled);
  EXPECT_FALSE(one->rotation.schedule().next_execution);
}

TEST_F(ScheduleTest, AClockThatIsPutBackDoesNotStopIt) {
  const auto one = daemon("one", {}, at_two);
  clock.step(days(365));
  tick(*one);
  clock.advance(hours(3));
  tick(*one);
  clock.step(-days(365));
  tick(*one);
  ASSERT_TRUE(one->rotation.schedule().next_execution);
  EXPECT_LE(*one->rotation.schedule().next_execution, clock.now() + days(1));
}

}  // namespace
}  // namespace betrace::kms
