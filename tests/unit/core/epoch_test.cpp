// The store's epoch, what stands outside the store, and a store that went back.
#include <gmock/gmock-matchers.h>

#include "base/envelope.h"
#include "core/history.h"
#include "core/succession.h"
#include "support/life_fixture.h"

namespace betrace::kms {
namespace {

using ::testing::HasSubstr;

struct EpochTest : LifeFixture {
  EpochTest() { create(acme); }
  std::unique_ptr<Daemon> one = daemon("one");

  Epoch marked() {
    const auto history = read_history(call, store, witness);
    EXPECT_TRUE(history) << history.error().message;
    return history ? history->mark.value_or(Epoch()) : Epoch();
  }
  Epoch stored() {
    const auto history = read_history(call, store, witness);
    EXPECT_TRUE(history) << history.error().message;
    return history ? history->store.value_or(Epoch()) : Epoch();
  }
  // The store's notes as they were, put back: an older copy of it.
  std::string newest_note() { return find_epoch(call, store).value().value(); }
  void put_back(std::uint64_t number, const std::string& envelope) {
    const auto notes = store.list_notes(call, epoch_prefix, "", 100).value();
    Commit commit;
    for (const auto& [name, text] : notes) commit.emplace_back(change::Note{.name = name});
    commit.emplace_back(change::Note{.name = epoch_note_name(number), .text = envelope});
    ASSERT_TRUE(store.commit(call, commit));
  }
};

TEST_F(EpochTest, MovesOnWhenTheStoreChangedAndOnlyThen) {
  ASSERT_TRUE(one->epochs.keep());
  const auto first = marked();
  EXPECT_EQ(first.number, 1U);
  ASSERT_TRUE(one->epochs.keep());
  EXPECT_EQ(marked().number, 1U);
  create(other);
  ASSERT_TRUE(one->epochs.keep());
  EXPECT_EQ(marked().number, 2U);
  EXPECT_GT(marked().generation, first.generation);
  EXPECT_EQ(stored().number, 2U);
}

TEST_F(EpochTest, IsNotThereBeforeTheFirstTenant) {
  MemoryStore empty;
  KeyServiceImpl service({empty, opener, store_threads, provider_threads, clock, metrics}, {});
  EpochKeeper keeper({empty, service.service_key(), witness, clock});
  const auto calls = provider.calls();
  EXPECT_TRUE(keeper.keep());
  EXPECT_TRUE(keeper.advance(call));
  EXPECT_FALSE(witness.mark().value());
  EXPECT_EQ(provider.calls(), calls);
}

TEST_F(EpochTest, TwoDaemonsKeepOneMarkThatNeverGoesBack) {
  const auto two = daemon("two");
  std::uint64_t last = 0;
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(rotate(acme));
    ASSERT_TRUE((round % 2 == 0 ? one : two)->epochs.keep());
    ASSERT_TRUE((round % 2 == 0 ? two : one)->epochs.keep());
    EXPECT_GT(marked().number, last);
    last = marked().number;
    EXPECT_EQ(stored().number, last);
  }
  EXPECT_EQ(store.list_notes(call, epoch_prefix, "", 100)->size(), 1U);
}

TEST_F(EpochTest, ARevocationMovesItOnBeforeItIsAcknowledged) {
  ASSERT_TRUE(one->epochs.keep());
  const auto before = marked().number;
  auto revoked = revoke(*one, acme, active(acme).id);
  EXPECT_FALSE(revoked);  // others have not applied it yet
  EXPECT_GT(marked().number, before);
}

TEST_F(EpochTest, ADestructionMovesItOnAndLeavesATombstone) {
  auto destroyed = destroy(*one, acme);
  settle({one.get()});
  ASSERT_TRUE(destroyed && *destroyed) << (*destroyed).error().message;
  EXPECT_FALSE((*destroyed)->pending);
  EXPECT_EQ(witness.tombstones().value(), std::vector<std::string>{(*destroyed)->certificate});
  EXPECT_GE(marked().number, 1U);
}

TEST_F(EpochTest, ATombstoneThatCannotBeWrittenKeepsTheDestructionPending) {
  Witness nowhere(outside.file("gone"));
  Lifecycle lifecycle(
      {store, *service, one->membership, one->epochs, nowhere, provider_threads, clock}, {});
  Answer<Destruction> answer;
  lifecycle.destroy_tenant(call, acme, answer.done());
  settle({one.get()});
  ASSERT_TRUE(answer && *answer);
  EXPECT_TRUE((*answer)->pending);
  EXPECT_FALSE((*answer)->certificate.empty());
  // The folder comes back, and the next look finishes it.
  clock.advance(lease + std::chrono::seconds(1));
  ASSERT_TRUE(one->lifecycle.resume());
  settle({one.get()});
  EXPECT_EQ(witness.tombstones()->size(), 1U);
  auto again = destroy(*one, acme);
  settle({one.get()});
  ASSERT_TRUE(again && *again);
  EXPECT_FALSE((*again)->pending);
}

TEST_F(EpochTest, AStoreThatWentBackIsRefused) {
  ASSERT_TRUE(one->epochs.advance(call));
  const auto old = newest_note();
  ASSERT_TRUE(one->epochs.advance(call));
  put_back(1, old);
  const auto history = read_history(call, store, witness);
  ASSERT_TRUE(history);
  const auto checked = check_not_rolled_back(*history, witness);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, ErrorCode::conflict);
  EXPECT_THAT(checked.error().message, HasSubstr("its epoch is 1"));
  EXPECT_THAT(checked.error().message, HasSubstr("--accept-rollback"));
}

TEST_F(EpochTest, AnEpochThatIsNotSealedByTheServiceKeyIsRefused) {
  ASSERT_TRUE(one->epochs.advance(call));
  auto forged = newest_note();
  const auto sig = forged.find("\"sig\":\"") + 7;
  forged[sig] = forged[sig] == 'A' ? 'B' : 'A';
  put_back(7, forged);
  const auto history = read_history(call, store, witness);
  ASSERT_FALSE(history);
  EXPECT_EQ(history.error().code, ErrorCode::corrupt);
  EXPECT_THAT(history.error().message, HasSubstr("the epoch in the store"));
}

TEST_F(EpochTest, AMarkOfAnotherStoreIsRefusedAndLeftAsItIs) {
  MemoryStore elsewhere;
  KeyServiceImpl theirs({elsewhere, opener, store_threads, provider_threads, clock, metrics}, {});
  ASSERT_TRUE(wait<TenantDescription>(
      [&](auto done) { theirs.create_tenant(call, other, std::move(done)); }));
  EpochKeeper keeper({elsewhere, theirs.service_key(), witness, clock});
  ASSERT_TRUE(keeper.advance(call));
  const auto mark = witness.mark().value();
  EXPECT_FALSE(read_history(call, store, witness));
  EXPECT_FALSE(one->epochs.advance(call));
  EXPECT_EQ(witness.mark().value(), mark);
}

TEST_F(EpochTest, AnEmptyStoreWhereOneWithKeysWasIsRefused) {
  ASSERT_TRUE(one->epochs.advance(call));
  MemoryStore empty;
  const auto history = read_history(call, empty, witness);
  ASSERT_FALSE(history);
  EXPECT_EQ(history.error().code, ErrorCode::conflict);
  EXPECT_THAT(history.error().message, HasSubstr(witness.mark_path()));
}

struct TombstoneTest : EpochTest {
  // A certificate for `tenant` by the service key of this store, from a copy of it that has another
  // fate.
  std::string certificate_for(const TenantId& tenant) {
    const auto key = service->service_key().get(call).value();
    DestructionNote note{
        .tenant = tenant, .requested_at = clock.now(), .destroyed_at = clock.now()};
    const auto statement = destruction_statement(note);
    const auto signature = sign_assertion(*key, dsse_encode(destruction_type, as_bytes(statement)));
    const EnvelopeSignature by_service{key->id, signature};
    return dsse_envelope(destruction_type, statement, {&by_service, 1});
  }
};

TEST_F(TombstoneTest, ATenantThatATombstoneNamesIsDestroyedAgain) {
  create(other);
  const auto sealed = encrypt(acme, "pii").value();
  ASSERT_TRUE(witness.bury(certificate_for(acme)));
  EXPECT_EQ(apply_tombstones(call, store, witness, clock).value(), 1U);
  EXPECT_TRUE(store.find_tenant(call, acme)->destroyed);
  const auto keys = store.list_keys(call, acme).value();
  for (const auto& key : keys) {
    EXPECT_EQ(key.state, KeyState::destroyed);
    EXPECT_TRUE(store.find_key(call, acme, key.type, key.version)->wrappings.empty());
  }
  service = restart();
  EXPECT_EQ(decrypt(acme, sealed).error().code, ErrorCode::destroyed);
  EXPECT_TRUE(sign(other, "x"));
  EXPECT_EQ(apply_tombstones(call, store, witness, clock).value(), 0U);
  // The scrub is gone on with, and the certificate is the first one.
  clock.advance(lease + std::chrono::seconds(1));
  ASSERT_TRUE(one->lifecycle.resume());
  settle({one.get()});
  auto answer = destroy(*one, acme);
  settle({one.get()});
  ASSERT_TRUE(answer && *answer);
  EXPECT_FALSE((*answer)->pending);
  EXPECT_EQ((*answer)->certificate, witness.tombstones()->front());
}

TEST_F(TombstoneTest, ATenantOfAMomentBetweenClosedAndDestroyedIsDestroyed) {
  ASSERT_TRUE(store.commit(call, {change::CloseTenant{acme}}));
  ASSERT_TRUE(witness.bury(certificate_for(acme)));
  EXPECT_EQ(apply_tombstones(call, store, witness, clock).value(), 1U);
  const auto keys = store.list_keys(call, acme).value();
  for (const auto& key : keys) EXPECT_TRUE(key.secret_destroyed_at);
  EXPECT_EQ(apply_tombstones(call, store, witness, clock).value(), 0U);
}

TEST_F(TombstoneTest, ANoteThatCannotBeReadHoldsNothingUp) {
  create(other);
  auto destroyed = destroy(*one, other);
  settle({one.get()});
  ASSERT_TRUE(destroyed && *destroyed);
  ASSERT_TRUE(store.commit(call, {change::Note{.name = "destroyed/broken", .text = "{"},
                                  change::Note{.name = "destroying/broken", .text = "{"}}));
  const TemporaryDirectory elsewhere;
  Witness fresh(elsewhere.path());
  EXPECT_TRUE(complete_tombstones(call, store, fresh));
  EXPECT_EQ(fresh.tombstones()->size(), 1U);
  auto next = destroy(*one, acme);
  settle({one.get()});
  EXPECT_TRUE(next && *next);
  EXPECT_FALSE(one->lifecycle.resume());  // says so, after all others
}

TEST_F(TombstoneTest, TheNameOfATenantThatTheStoreDoesNotKnowIsTaken) {
  ASSERT_TRUE(witness.bury(certificate_for(other)));
  EXPECT_EQ(apply_tombstones(call, store, witness, clock).value(), 1U);
  const auto made = wait<TenantDescription>(
      [&](auto done) { service->create_tenant(call, other, std::move(done)); });
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::destroyed);
}

TEST_F(TombstoneTest, ALineThatTheServiceKeyDidNotSignDestroysNothing) {
  auto forged = certificate_for(acme);
  forged[forged.find("\"sig\":\"") + 9] ^= 1;
  ASSERT_TRUE(witness.bury(forged));
  ASSERT_TRUE(witness.bury("not even JSON"));
  EXPECT_EQ(apply_tombstones(call, store, witness, clock).value(), 0U);
  EXPECT_FALSE(store.find_tenant(call, acme)->destroyed);
}

TEST_F(TombstoneTest, CertificatesThatTheWitnessLacksAreWrittenDownOnce) {
  auto destroyed = destroy(*one, acme);
  settle({one.get()});
  ASSERT_TRUE(destroyed && *destroyed);
  const TemporaryDirectory elsewhere;
  Witness fresh(elsewhere.path());
  ASSERT_TRUE(complete_tombstones(call, store, fresh));
  ASSERT_TRUE(complete_tombstones(call, store, fresh));
  EXPECT_EQ(fresh.tombstones().value(), witness.tombstones().value());
}

}  // namespace
}  // namespace betrace::kms
