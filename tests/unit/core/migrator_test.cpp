// Keys that move from one master key to another.
#include "core/migrator.h"

#include "core/migration_note.h"
#include "support/life_fixture.h"

namespace betrace::kms {
namespace {

using std::chrono::seconds;

struct MigratorTest : LifeFixture {
  FakeProvider next{"next"};

  // A service whose new keys go to `next`, and the migrator beside it.
  struct Moved {
    Moved(MigratorTest& world, const std::string& name, Migrator::Options options = {})
        : migrator({world.store, world.opener, *world.service, world.provider_threads,
                    world.store_threads, world.clock, name},
                   options) {}
    Migrator migrator;
  };
  void switch_provider() {
    opener = KeyOpener{{&next, &next}, {{&provider, &provider}}};
    service = restart();
  }
  Result<MigrationRun> start(Moved& on) {
    return wait<MigrationRun>([&](auto done) { on.migrator.start(call, std::move(done)); });
  }
  MigrationState state(Moved& on) {
    return wait<MigrationState>([&](auto done) { on.migrator.state(call, std::move(done)); })
        .value();
  }
  std::uint64_t held_by(std::string_view name) {
    std::uint64_t keys = 0;
    const auto counts = store.wrapping_counts(call).value();
    for (const auto& each : counts) {
      if (each.provider == name) keys += each.keys;
    }
    return keys;
  }
};

TEST_F(MigratorTest, MovesEveryKeyAndWhatWasMadeBeforeStillWorks) {
  create(acme);
  create(other);
  ASSERT_TRUE(rotate(acme));
  const auto signature = sign(acme, "evidence").value();
  const auto sealed = encrypt(acme, "pii").value();
  switch_provider();
  Moved one(*this, "one", {.batch_size = 2});
  const auto begun = start(one);
  ASSERT_TRUE(begun) << begun.error().message;
  EXPECT_EQ(begun->total, 7U) << "two tenants, one rotation, the service key";
  EXPECT_EQ(begun->target.provider, "next");
  EXPECT_FALSE(begun->second);
  one.migrator.tick({});
  const auto done = state(one);
  EXPECT_EQ(done.run.state, MigrationRun::State::complete);
  EXPECT_EQ(done.run.moved, 7U);
  EXPECT_EQ(done.run.failed, 0U);
  EXPECT_EQ(held_by("fake"), 0U);
  EXPECT_EQ(held_by("next"), 7U);
  // The old provider may go.
  opener = KeyOpener{{&next, &next}};
  service = restart();
  EXPECT_EQ(sign(acme, "evidence")->bytes, signature.bytes);
  EXPECT_TRUE(verify(acme, "evidence", signature.bytes)->valid);
  EXPECT_EQ(decrypt(acme, sealed), "pii");
}

TEST_F(MigratorTest, AKeyThatCannotBeOpenedIsReportedAndKept) {
  create(acme);
  const auto broken = active(acme);
  ASSERT_TRUE(store.edit_key(broken.id, [](KeyRecord& row) { row.wrappings[0].blob[20] ^= 1; }));
  switch_provider();
  Moved one(*this, "one");
  ASSERT_TRUE(start(one));
  one.migrator.tick({});
  const auto done = state(one).run;
  EXPECT_EQ(done.failed, 1U);
  EXPECT_EQ(done.moved, 2U);
  ASSERT_EQ(done.failures.size(), 1U);
  EXPECT_EQ(done.failures[0].key, broken.id);
  EXPECT_EQ(store.find_key(call, acme, KeyType::signing, 1)->wrappings[0].provider, "fake");
}

TEST_F(MigratorTest, ANewFormThatDoesNotOpenLeavesTheOldOneInPlace) {
  create(acme);
  switch_provider();
  Moved one(*this, "one");
  ASSERT_TRUE(start(one));
  next.fail_always(ErrorCode::kms_access_denied);
  one.migrator.tick({});
  EXPECT_EQ(state(one).run.failed, 3U);
  EXPECT_EQ(held_by("fake"), 3U);
  EXPECT_TRUE(sign(acme, "x"));
}

TEST_F(MigratorTest, GoesOnWhereADaemonWasInterrupted) {
  for (int i = 0; i < 10; ++i) create(TenantId::parse("t" + std::to_string(i)).value());
  switch_provider();
  std::stop_source killed;
  int commits = 0;
  store.before_each([&](std::string_view verb) -> Status {
    if (verb == "commit_each" && ++commits > 3) killed.request_stop();
    return commits > 3 ? Status(fail(ErrorCode::store_unavailable, "killed")) : Status();
  });
  Moved dying(*this, "dying", {.batch_size = 3});
  ASSERT_TRUE(start(dying));
  dying.migrator.tick(killed.get_token());
  store.before_each({});
  EXPECT_GT(held_by("next"), 0U);
  EXPECT_GT(held_by("fake"), 0U);
  clock.advance(seconds(31));
  Moved two(*this, "two");
  EXPECT_EQ(state(two).run.state, MigrationRun::State::interrupted);
  for (int i = 0; i < 6; ++i) two.migrator.tick({});
  EXPECT_EQ(state(two).run.state, MigrationRun::State::complete);
  EXPECT_EQ(held_by("fake"), 0U);
  for (int i = 0; i < 10; ++i)
    EXPECT_TRUE(sign(TenantId::parse("t" + std::to_string(i)).value(), "x"));
}

TEST_F(MigratorTest, ADaemonWhoseKeysGoElsewhereLeavesAnInterruptedRun) {
  FakeProvider a("cloud", true, "key-a"), b("cloud", true, "key-b");
  opener = KeyOpener{{&a, &a}};
  service = restart();
  for (int i = 0; i < 3; ++i) create(TenantId::parse("t" + std::to_string(i)).value());
  opener = KeyOpener{{&b, &b}, {{&a, &a}}};
  service = restart();
  Moved dying(*this, "dying");
  ASSERT_TRUE(start(dying));
  clock.advance(seconds(31));

  opener = KeyOpener{{&a, &a}, {{&b, &b}}};
  service = restart();
  Moved back(*this, "back");
  for (int i = 0; i < 12; ++i) back.migrator.tick({});
  const auto left = state(back);
  EXPECT_EQ(left.run.state, MigrationRun::State::interrupted);
  EXPECT_EQ(left.run.failed, 0U);
  ASSERT_EQ(left.holders.size(), 1U);
  EXPECT_EQ(left.holders[0].count.master_key_id, "key-a");
  const auto asked = a.generated();
  for (int i = 0; i < 12; ++i) back.migrator.tick({});
  EXPECT_EQ(a.generated(), asked) << "the provider is asked once where keys go";
  // The lease is free for a run of its own.
  ASSERT_TRUE(start(back));
  back.migrator.tick({});
  EXPECT_EQ(state(back).run.state, MigrationRun::State::complete);
}

TEST_F(MigratorTest, OneRunsAtATime) {
  create(acme);
  switch_provider();
  Moved one(*this, "one"), two(*this, "two");
  ASSERT_TRUE(start(one));
  EXPECT_EQ(start(one).error().code, ErrorCode::conflict);
  EXPECT_EQ(start(two).error().code, ErrorCode::conflict);
}

TEST_F(MigratorTest, TheBudgetHoldsBackTheProviders) {
  for (int i = 0; i < 5; ++i) create(TenantId::parse("t" + std::to_string(i)).value());
  switch_provider();
  Moved one(*this, "one", {.calls_per_second = 3});
  const auto begun = clock.steady_now();
  ASSERT_TRUE(start(one));
  one.migrator.tick({});
  EXPECT_GE(clock.steady_now() - begun, seconds(10)) << "eleven keys";
}

TEST_F(MigratorTest, KeysOfTwoInstancesOfOneProviderAreOpenedByTheOneThatCan) {
  FakeProvider account_a("cloud"), account_b("cloud");
  opener = KeyOpener{{&account_a, &account_a}};
  service = restart();
  create(acme);
  const auto signature = sign(acme, "x").value();
  opener = KeyOpener{{&account_b, &account_b}, {{&account_a, &account_a}}};
  service = restart();
  EXPECT_EQ(sign(acme, "x")->bytes, signature.bytes);
  create(other);
  EXPECT_TRUE(sign(other, "x"));
}

TEST_F(MigratorTest, WhatIsLeftUnderTheNameOfTheNewMasterKeyIsNotTakenForMoved) {
  FakeProvider left("cloud", true, "key"), same_name("cloud", true, "key");
  FakeProvider other_name("cloud", true, "dc2:key");
  opener = KeyOpener{{&left, &left}};
  service = restart();
  create(acme);
  opener = KeyOpener{{&same_name, &same_name}, {{&left, &left}}};
  service = restart();
  Moved one(*this, "one");
  const auto refused = start(one);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_TRUE(refused.error().message.starts_with(
      "betrace.kms.previous-provider leads to the same master key as new keys, key,"))
      << refused.error().message;

  opener = KeyOpener{{&other_name, &other_name}, {{&left, &left}}};
  service = restart();
  Moved two(*this, "two");
  const auto begun = start(two);
  ASSERT_TRUE(begun) << begun.error().message;
  two.migrator.tick({});
  EXPECT_EQ(state(two).run.moved, 3U);
  opener = KeyOpener{{&other_name, &other_name}};
  service = restart();
  EXPECT_TRUE(sign(acme, "x"));
}

TEST_F(MigratorTest, WhetherWhatIsLeftIsAnotherKeyIsNotAskedOfOneThatIsDown) {
  FakeProvider left("cloud", true, "old"), current("cloud", true, "new");
  opener = KeyOpener{{&current, &current}, {{&left, &left}}};
  service = restart();
  create(acme);
  left.fail_always(ErrorCode::kms_unavailable);
  Moved one(*this, "one");
  EXPECT_TRUE(start(one));
}

TEST_F(MigratorTest, SaysWhatNobodyOpens) {
  create(acme);
  opener = KeyOpener{{&next, &next}};
  service = restart();
  Moved one(*this, "one");
  const auto holders = state(one).holders;
  ASSERT_EQ(holders.size(), 1U);
  EXPECT_FALSE(holders[0].readable);
  EXPECT_EQ(holders[0].count.keys, 3U);
}

// --- a second master key
// --------------------------------------------------------------------------

TEST_F(MigratorTest, ASecondProviderIsAddedByAMigrationAndEitherAloneOpensEveryKey) {
  create(acme);
  ASSERT_TRUE(rotate(acme));
  const auto sealed = encrypt(acme, "pii").value();
  const auto signature = sign(acme, "evidence").value();
  opener = KeyOpener{{&provider, &provider}, {}, ProviderPair{&next, &next}};
  service = restart();
  create(other);
  EXPECT_EQ(held_by("fake"), 7U);
  EXPECT_EQ(held_by("next"), 2U) << "new keys are wrapped twice from the start";
  Moved one(*this, "one", {.batch_size = 2});
  const auto begun = start(one);
  ASSERT_TRUE(begun) << begun.error().message;
  EXPECT_EQ(begun->total, 5U);
  ASSERT_TRUE(begun->second);
  EXPECT_EQ(begun->second->provider, "next");
  const auto asked = provider.decrypted();
  one.migrator.tick({});
  EXPECT_EQ(state(one).run.moved, 5U);
  EXPECT_EQ(held_by("fake"), 7U);
  EXPECT_EQ(held_by("next"), 7U);
  EXPECT_EQ(provider.decrypted() - asked, 5) << "what is there already is not wrapped again";
  for (auto* alone : {&provider, &next}) {
    opener = KeyOpener{{alone, alone}};
    service = restart();
    EXPECT_EQ(sign(acme, "evidence")->bytes, signature.bytes);
    EXPECT_EQ(decrypt(acme, sealed), "pii");
    EXPECT_TRUE(sign(other, "x"));
  }
}

TEST_F(MigratorTest, ASecondProviderIsLeftByAMigration) {
  opener = KeyOpener{{&provider, &provider}, {}, ProviderPair{&next, &next}};
  service = restart();
  create(acme);
  EXPECT_EQ(held_by("next"), 3U);
  opener = KeyOpener{{&provider, &provider}};
  service = restart();
  Moved one(*this, "one");
  ASSERT_TRUE(start(one));
  one.migrator.tick({});
  EXPECT_EQ(state(one).run.moved, 3U);
  EXPECT_EQ(held_by("next"), 0U);
  EXPECT_EQ(held_by("fake"), 3U);
  EXPECT_TRUE(sign(acme, "x"));
}

TEST_F(MigratorTest, WhenOneMasterKeyIsDownTheOtherOpensAndNoKeyIsMadeThatOnlyOneOpens) {
  opener = KeyOpener{{&provider, &provider}, {}, ProviderPair{&next, &next}};
  service = restart();
  create(acme);
  for (auto* down : {&provider, &next}) {
    down->fail_always(ErrorCode::kms_unavailable);
    service = restart();
    EXPECT_TRUE(sign(acme, "x"));
    EXPECT_TRUE(encrypt(acme, "x"));
    const auto made = rotate(acme);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::kms_unavailable);
    EXPECT_EQ(made.error().message.starts_with("by the second provider: "), down == &next);
    EXPECT_EQ(active(acme).version, 1U);
    down->recover();
  }
  EXPECT_TRUE(rotate(acme));
}

TEST_F(MigratorTest, TheSameMasterKeyTwiceIsRefused) {
  FakeProvider same;
  opener = KeyOpener{{&same, &same}, {}, ProviderPair{&same, &same}};
  service = restart();
  Moved one(*this, "one");
  const auto begun = start(one);
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(begun.error().message.find("betrace.kms.second-provider"), std::string::npos);
}

}  // namespace
}  // namespace betrace::kms
