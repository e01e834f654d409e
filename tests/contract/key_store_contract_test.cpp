// What every KeyStore does, verb by verb.
#include <algorithm>
#include <limits>
#include <map>

#include "contract/key_store_fixture.h"

namespace betrace::kms::testing {
namespace {

INSTANTIATE_TEST_SUITE_P(Stores, KeyStoreContract, ::testing::ValuesIn(store_kinds), store_name);

void expect_same(const KeyRecord& a, const KeyRecord& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.tenant, b.tenant);
  EXPECT_EQ(a.type, b.type);
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.created_at, b.created_at);
  EXPECT_EQ(a.state_changed_at, b.state_changed_at);
  EXPECT_EQ(a.reason, b.reason);
  EXPECT_EQ(a.public_key, b.public_key);
  EXPECT_EQ(a.attestation, b.attestation);
  EXPECT_EQ(a.secret_destroyed_at, b.secret_destroyed_at);
  ASSERT_EQ(a.succession.has_value(), b.succession.has_value());
  if (a.succession) {
    EXPECT_EQ(a.succession->kind, b.succession->kind);
    EXPECT_EQ(a.succession->by_predecessor, b.succession->by_predecessor);
    EXPECT_EQ(a.succession->by_service, b.succession->by_service);
  }
  ASSERT_EQ(a.wrappings.size(), b.wrappings.size());
  for (std::size_t i = 0; i < a.wrappings.size(); ++i) {
    EXPECT_EQ(a.wrappings[i].provider, b.wrappings[i].provider);
    EXPECT_EQ(a.wrappings[i].master_key_id, b.wrappings[i].master_key_id);
    EXPECT_EQ(a.wrappings[i].blob, b.wrappings[i].blob);
  }
}

std::vector<std::string> names(const std::vector<TenantId>& tenants) {
  std::vector<std::string> texts;
  for (const auto& tenant : tenants) texts.push_back(tenant.str());
  std::ranges::sort(texts);
  return texts;
}

// --- tenants ------------------------------------------------------------------------------------

TEST_P(KeyStoreContract, ACreatedTenantIsFoundWithBothKeysAsTheyWere) {
  auto keys = both_keys(tenant_id("acme"), 1, 1'234'567'890'123);
  keys[0].wrappings.push_back(
      {.provider = "aws", .master_key_id = "arn:aws:kms:us-east-1:1:key/2", .blob = {0, 1, 0}});
  std::ranges::sort(keys[0].wrappings, {}, &Wrapping::provider);
  ASSERT_TRUE(store().create_tenant(call_, tenant_record("acme", 42), keys));

  const auto tenant = store().find_tenant(call_, tenant_id("acme"));
  ASSERT_TRUE(tenant);
  EXPECT_EQ(tenant->id.str(), "acme");
  EXPECT_EQ(tenant->created_at, at_ms(42));
  EXPECT_FALSE(tenant->destroyed);
  expect_same(active("acme", KeyType::signing), keys[0]);
  expect_same(active("acme", KeyType::encryption), keys[1]);
}

TEST_P(KeyStoreContract, AKeyWithoutWrappingsOrAttestationComesBackWithoutThem) {
  auto keys = both_keys(tenant_id("acme"));
  keys[0].wrappings.clear();
  keys[0].attestation.clear();
  ASSERT_TRUE(store().create_tenant(call_, tenant_record("acme"), keys));
  expect_same(active("acme"), keys[0]);
}

TEST_P(KeyStoreContract, CreatingATenantTwiceSaysItExistsAndChangesNothing) {
  create("acme");
  const auto before = active("acme");
  EXPECT_EQ(code_of(store().create_tenant(call_, tenant_record("acme", 9),
                                          both_keys(tenant_id("acme"), 1, 9))),
            ErrorCode::already_exists);
  expect_same(active("acme"), before);
}

TEST_P(KeyStoreContract, ADestroyedTenantIsNotMadeAgainAndHasNoActiveKey) {
  auto tenant = tenant_record("acme");
  tenant.destroyed = true;
  ASSERT_TRUE(store().create_tenant(call_, tenant, both_keys(tenant.id)));
  EXPECT_EQ(code_of(store().create_tenant(call_, tenant_record("acme"), {})), ErrorCode::destroyed);
  EXPECT_EQ(code_of(store().find_active_key(call_, tenant.id, KeyType::signing)),
            ErrorCode::destroyed);
  EXPECT_TRUE(store().find_tenant(call_, tenant.id)->destroyed);
  EXPECT_TRUE(store().find_key(call_, tenant.id, KeyType::signing, 1));
  EXPECT_EQ(store().list_keys(call_, tenant.id)->size(), 2U);
  EXPECT_EQ(code_of(rotate(store(), call_, both_keys(tenant.id, 2))), ErrorCode::destroyed);
}

TEST_P(KeyStoreContract, ATenantIsStoredWithAllItsKeysOrNotAtAll) {
  create("acme");
  auto keys = both_keys(tenant_id("other"));
  keys[1].id = active("acme").id;
  EXPECT_EQ(code_of(store().create_tenant(call_, tenant_record("other"), keys)),
            ErrorCode::conflict);
  EXPECT_EQ(code_of(store().find_tenant(call_, tenant_id("other"))), ErrorCode::tenant_not_found);
  EXPECT_EQ(code_of(store().find_key(call_, tenant_id("other"), KeyType::signing, 1)),
            ErrorCode::tenant_not_found);
}

TEST_P(KeyStoreContract, KeysThatCannotStandTogetherAreRefused) {
  const auto refused = [&](const std::vector<KeyRecord>& keys) {
    return code_of(store().create_tenant(call_, tenant_record("acme"), keys)) ==
           ErrorCode::invalid_argument;
  };
  const auto tenant = tenant_id("acme");
  EXPECT_TRUE(refused(both_keys(tenant_id("other"))));
  EXPECT_TRUE(refused({key_record({.tenant = tenant}), key_record({.tenant = tenant})}));
  EXPECT_TRUE(
      refused({key_record({.tenant = tenant}), key_record({.tenant = tenant, .version = 2})}));
  auto twice_wrapped = both_keys(tenant);
  twice_wrapped[0].wrappings.push_back(twice_wrapped[0].wrappings[0]);
  EXPECT_TRUE(refused(twice_wrapped));
  EXPECT_EQ(code_of(store().create_tenant(call_, tenant_record("@service"), {})),
            ErrorCode::invalid_argument);
}

TEST_P(KeyStoreContract, AnUnknownTenantIsSaidToBeUnknown) {
  const auto nobody = tenant_id("nobody");
  EXPECT_EQ(code_of(store().find_tenant(call_, nobody)), ErrorCode::tenant_not_found);
  EXPECT_EQ(code_of(store().list_keys(call_, nobody)), ErrorCode::tenant_not_found);
  EXPECT_EQ(code_of(store().find_active_key(call_, nobody, KeyType::signing)),
            ErrorCode::tenant_not_found);
  EXPECT_EQ(code_of(store().find_key(call_, nobody, KeyType::signing, 1)),
            ErrorCode::tenant_not_found);
  EXPECT_EQ(code_of(rotate(store(), call_, both_keys(nobody, 2))), ErrorCode::tenant_not_found);
}

TEST_P(KeyStoreContract, TenantsAreListedByIdAPageAtATime) {
  for (const auto* id : {"b", "a:1", "C", "a", "a.b", "z", "a-1"}) create(id);
  std::vector<std::string> listed;
  Page page{.after = "", .limit = 3};
  for (;;) {
    const auto tenants = store().list_tenants(call_, page);
    ASSERT_TRUE(tenants);
    ASSERT_LE(tenants->size(), 3U);
    for (const auto& each : *tenants) listed.push_back(each.id.str());
    if (tenants->size() < page.limit) break;
    page.after = listed.back();
  }
  EXPECT_EQ(listed, (std::vector<std::string>{"C", "a", "a-1", "a.b", "a:1", "b", "z"}));
  EXPECT_TRUE(store().list_tenants(call_, {.after = "z", .limit = 3})->empty());
  EXPECT_TRUE(store().list_tenants(call_, {.after = "", .limit = 0})->empty());
  const auto everything = std::numeric_limits<std::size_t>::max();
  EXPECT_EQ(store().list_tenants(call_, {.after = "", .limit = everything})->size(), 7U);
}

// --- the service's own keys ---------------------------------------------------------------------

TEST_P(KeyStoreContract, AServiceKeyIsFoundButTheServiceIsNoTenant) {
  const auto service = TenantId::service();
  EXPECT_EQ(code_of(store().find_active_key(call_, service, KeyType::signing)),
            ErrorCode::key_not_found);
  EXPECT_EQ(code_of(store().find_key(call_, service, KeyType::signing, 1)),
            ErrorCode::key_not_found);
  EXPECT_TRUE(store().list_keys(call_, service)->empty());

  const auto key = key_record({.tenant = service});
  ASSERT_TRUE(store().insert_service_key(call_, key));
  expect_same(*store().find_active_key(call_, service, KeyType::signing), key);
  expect_same(*store().find_key(call_, service, KeyType::signing, 1), key);
  EXPECT_EQ(store().list_keys(call_, service)->size(), 1U);

  EXPECT_EQ(code_of(store().find_tenant(call_, service)), ErrorCode::tenant_not_found);
  EXPECT_TRUE(store().list_tenants(call_, {})->empty());
  const auto counted = store().counts(call_);
  ASSERT_TRUE(counted);
  EXPECT_EQ(counted->tenants, 0U);
  EXPECT_FALSE(counted->oldest_active_key);
}

TEST_P(KeyStoreContract, TheSecondDaemonToMakeTheServiceKeyIsToldItExists) {
  const auto service = TenantId::service();
  const auto key = key_record({.tenant = service});
  ASSERT_TRUE(store().insert_service_key(call_, key));
  EXPECT_EQ(code_of(store().insert_service_key(call_, key_record({.tenant = service}))),
            ErrorCode::already_exists);
  expect_same(*store().find_active_key(call_, service, KeyType::signing), key);
  EXPECT_EQ(code_of(store().insert_service_key(call_, key_record({.tenant = tenant_id("acme")}))),
            ErrorCode::invalid_argument);
}

TEST_P(KeyStoreContract, TheServiceKeyRotates) {
  const auto service = TenantId::service();
  ASSERT_TRUE(store().insert_service_key(call_, key_record({.tenant = service})));
  const auto next = key_record({.tenant = service, .version = 2});
  ASSERT_TRUE(rotate(store(), call_, {next}));
  EXPECT_EQ(store().find_active_key(call_, service, KeyType::signing)->version, 2U);
}

// --- keys ---------------------------------------------------------------------------------------

TEST_P(KeyStoreContract, AKeyThatIsNotThereIsSaidNotToBeThere) {
  const auto key = key_record({.tenant = tenant_id("acme")});
  ASSERT_TRUE(store().create_tenant(call_, tenant_record("acme"), std::span(&key, 1)));
  EXPECT_EQ(code_of(store().find_active_key(call_, key.tenant, KeyType::encryption)),
            ErrorCode::key_not_found);
  EXPECT_EQ(code_of(store().find_key(call_, key.tenant, KeyType::signing, 2)),
            ErrorCode::key_not_found);
  EXPECT_EQ(code_of(store().find_key(call_, key.tenant, KeyType::signing, 0xffffffff)),
            ErrorCode::key_not_found);
}

TEST_P(KeyStoreContract, RotationAddsAVersionAndKeepsTheOldOne) {
  create("acme", 1'000);
  const auto old = active("acme");
  const auto successors = both_keys(tenant_id("acme"), 2, 5'000);
  ASSERT_TRUE(rotate(store(), call_, successors));
  expect_same(active("acme"), successors[0]);
  expect_same(active("acme", KeyType::encryption), successors[1]);

  auto kept = store().find_key(call_, old.tenant, KeyType::signing, 1);
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->state, KeyState::rotated);
  EXPECT_EQ(kept->state_changed_at, at_ms(5'000));
  kept->state = old.state;
  kept->state_changed_at = old.state_changed_at;
  expect_same(*kept, old);
}

TEST_P(KeyStoreContract, ARotationFromAnOldVersionConflictsAndChangesNothing) {
  create("acme");
  ASSERT_TRUE(rotate(store(), call_, both_keys(tenant_id("acme"), 2)));
  EXPECT_EQ(code_of(rotate(store(), call_, both_keys(tenant_id("acme"), 2))), ErrorCode::conflict);
  EXPECT_EQ(code_of(rotate(store(), call_, both_keys(tenant_id("acme"), 4))), ErrorCode::conflict);
  EXPECT_EQ(active("acme").version, 2U);
  EXPECT_EQ(store().list_keys(call_, tenant_id("acme"))->size(), 4U);
}

TEST_P(KeyStoreContract, ARotationOfSeveralKeysIsDoneWhollyOrNotAtAll) {
  create("acme");
  const auto start = generation();
  auto successors = both_keys(tenant_id("acme"), 2);
  successors[1].id = active("acme").id;
  EXPECT_EQ(code_of(rotate(store(), call_, successors)), ErrorCode::already_exists);
  EXPECT_EQ(active("acme").version, 1U);
  EXPECT_EQ(active("acme").state, KeyState::active);
  EXPECT_EQ(active("acme", KeyType::encryption).version, 1U);
  EXPECT_EQ(store().list_keys(call_, tenant_id("acme"))->size(), 2U);
  EXPECT_EQ(generation(), start);
}

TEST_P(KeyStoreContract, WhatIsNoSuccessorIsRefused) {
  create("acme");
  const auto add = [&](KeyRecord key) {
    return code_of(store().commit(call_, {change::AddKey{key}}));
  };
  auto without_succession = key_record({.tenant = tenant_id("acme"), .version = 2});
  without_succession.succession.reset();
  EXPECT_EQ(add(without_succession), ErrorCode::invalid_argument);
  auto first = key_record({.tenant = tenant_id("acme")});
  first.succession = Succession();
  EXPECT_EQ(add(first), ErrorCode::invalid_argument);
  auto old = key_record({.tenant = tenant_id("acme")});
  old.state = KeyState::rotated;
  EXPECT_EQ(add(old), ErrorCode::already_exists);
  EXPECT_EQ(add(key_record({.tenant = tenant_id("acme"), .version = 2})), ErrorCode::conflict);
  EXPECT_TRUE(store().commit(call_, {}));
}

TEST_P(KeyStoreContract, KeysAreListedByTypeAndVersionWithoutWrappings) {
  create("acme");
  create("acme2");
  for (std::uint32_t version = 2; version <= 11; ++version) {
    ASSERT_TRUE(rotate(store(), call_, both_keys(tenant_id("acme"), version)));
  }
  const auto keys = store().list_keys(call_, tenant_id("acme"));
  ASSERT_TRUE(keys);
  ASSERT_EQ(keys->size(), 22U);
  for (std::size_t i = 0; i < keys->size(); ++i) {
    const auto& key = (*keys)[i];
    EXPECT_EQ(key.type, i < 11 ? KeyType::signing : KeyType::encryption);
    EXPECT_EQ(key.version, i % 11 + 1);
    EXPECT_EQ(key.state, key.version == 11 ? KeyState::active : KeyState::rotated);
    EXPECT_TRUE(key.wrappings.empty());
  }
}

TEST_P(KeyStoreContract, AStateChangesFromTheOneThatIsExpected) {
  create("acme");
  const auto key = active("acme");
  ASSERT_TRUE(change_state(key.id, KeyState::active, KeyState::revoked, 7'000, "stolen 'laptop'"));
  const auto revoked = store().find_key(call_, key.tenant, KeyType::signing, 1);
  EXPECT_EQ(revoked->state, KeyState::revoked);
  EXPECT_EQ(revoked->state_changed_at, at_ms(7'000));
  EXPECT_EQ(revoked->reason, "stolen 'laptop'");
  EXPECT_EQ(revoked->wrappings.size(), 1U);
  EXPECT_EQ(code_of(store().find_active_key(call_, key.tenant, KeyType::signing)),
            ErrorCode::key_not_found);
  EXPECT_EQ(active("acme", KeyType::encryption).version, 1U);
  EXPECT_EQ(code_of(change_state(key.id, KeyState::active, KeyState::rotated)),
            ErrorCode::conflict);
  EXPECT_EQ(code_of(change_state(KeyId::generate(at_ms(1)), KeyState::active, KeyState::revoked)),
            ErrorCode::key_not_found);
}

TEST_P(KeyStoreContract, NoKeyBecomesActiveAgain) {
  create("acme");
  const auto old = active("acme");
  ASSERT_TRUE(rotate(store(), call_, both_keys(old.tenant, 2)));
  EXPECT_EQ(code_of(change_state(old.id, KeyState::rotated, KeyState::active)),
            ErrorCode::invalid_argument);
}

TEST_P(KeyStoreContract, ADestroyedSecretLeavesThePublicHalf) {
  create("acme");
  const auto key = active("acme");
  ASSERT_TRUE(rotate(store(), call_, both_keys(key.tenant, 2)));
  ASSERT_TRUE(store().commit(call_, {change::DestroySecret{.key = key.id, .at = at_ms(7'000)}}));
  ASSERT_TRUE(store().commit(call_, {change::DestroySecret{.key = key.id, .at = at_ms(8'000)}}));
  ASSERT_TRUE(change_state(key.id, KeyState::rotated, KeyState::destroyed));
  const auto destroyed = store().find_key(call_, key.tenant, KeyType::signing, 1);
  EXPECT_EQ(destroyed->state, KeyState::destroyed);
  EXPECT_EQ(destroyed->public_key, key.public_key);
  EXPECT_EQ(destroyed->secret_destroyed_at, at_ms(7'000));
  EXPECT_TRUE(destroyed->wrappings.empty());
  EXPECT_EQ(code_of(store().commit(
                call_, {change::AddWrapping{.key = key.id, .wrapping = by_aws("key/1")}})),
            ErrorCode::conflict);
}

// --- changes ------------------------------------------------------------------------------------

TEST_P(KeyStoreContract, NothingChangedAnswersTheSameGeneration) {
  create("acme");
  const auto now = generation();
  const auto changes = store().changes_since(call_, now);
  ASSERT_TRUE(changes);
  EXPECT_EQ(changes->generation, now);
  EXPECT_TRUE(changes->tenants.empty());
  EXPECT_FALSE(changes->everything);
}

TEST_P(KeyStoreContract, EveryChangeOfKeysIsSeenOnceByTenant) {
  create("a");
  create("b");
  create("c");
  const auto start = generation();
  ASSERT_TRUE(rotate(store(), call_, both_keys(tenant_id("b"), 2)));
  ASSERT_TRUE(change_state(active("a").id, KeyState::active, KeyState::revoked));
  create("d");
  ASSERT_TRUE(store().insert_service_key(call_, key_record({.tenant = TenantId::service()})));
  const auto changes = store().changes_since(call_, start);
  ASSERT_TRUE(changes);
  EXPECT_FALSE(changes->everything);
  EXPECT_EQ(names(changes->tenants), (std::vector<std::string>{"@service", "a", "b", "d"}));
  EXPECT_EQ(changes->generation, generation());

  ASSERT_TRUE(rotate(store(), call_, both_keys(tenant_id("b"), 3)));
  EXPECT_EQ(names(store().changes_since(call_, changes->generation)->tenants),
            (std::vector<std::string>{"b"}));
}

TEST_P(KeyStoreContract, AnEmptyStoreHasChangesFromItsFirstTenantOn) {
  const auto start = generation();
  EXPECT_FALSE(store().changes_since(call_, start)->everything);
  create("a");
  const auto changes = store().changes_since(call_, start);
  EXPECT_FALSE(changes->everything);
  EXPECT_EQ(names(changes->tenants), (std::vector<std::string>{"a"}));
}

TEST_P(KeyStoreContract, AGenerationFromElsewhereMeansThatEverythingMayHaveChanged) {
  create("a");
  const auto changes = store().changes_since(call_, generation() + 100);
  ASSERT_TRUE(changes);
  EXPECT_TRUE(changes->everything);
  EXPECT_EQ(changes->generation, generation());
}

TEST_P(KeyStoreContract, FailedWritesAndActivityAreNoChanges) {
  create("a");
  const auto start = generation();
  const std::pair<TenantId, SystemTime> activity[] = {{tenant_id("a"), at_ms(77)}};
  ASSERT_TRUE(store().touch(call_, activity));
  EXPECT_FALSE(rotate(store(), call_, both_keys(tenant_id("a"), 5)));
  EXPECT_FALSE(store().create_tenant(call_, tenant_record("a"), {}));
  ASSERT_TRUE(store().reserve(call_, "n", 5, 100));
  EXPECT_EQ(generation(), start);
}

// --- activity, counters, counts -----------------------------------------------------------------

TEST_P(KeyStoreContract, TheMostRecentlyActiveTenantsComeFirst) {
  for (const auto* id : {"a", "b", "c", "d"}) create(id);
  EXPECT_TRUE(store().recently_active(call_, 10)->empty());
  const std::pair<TenantId, SystemTime> activity[] = {{tenant_id("a"), at_ms(50)},
                                                      {tenant_id("gone"), at_ms(60)},
                                                      {tenant_id("c"), at_ms(70)},
                                                      {tenant_id("b"), at_ms(50)}};
  ASSERT_TRUE(store().touch(call_, activity));
  const auto ids = [](std::initializer_list<const char*> texts) {
    std::vector<TenantId> tenants;
    for (const auto* text : texts) tenants.push_back(tenant_id(text));
    return tenants;
  };
  EXPECT_EQ(*store().recently_active(call_, 10), ids({"c", "a", "b"}));
  EXPECT_EQ(*store().recently_active(call_, 2), ids({"c", "a"}));
  EXPECT_EQ(*store().recently_active(call_, 0), ids({}));
  EXPECT_FALSE(store().find_tenant(call_, tenant_id("gone")));
}

TEST_P(KeyStoreContract, ActivityNeverGoesBack) {
  create("a");
  create("b");
  const std::pair<TenantId, SystemTime> late[] = {{tenant_id("a"), at_ms(90)},
                                                  {tenant_id("b"), at_ms(80)}};
  const std::pair<TenantId, SystemTime> early[] = {{tenant_id("a"), at_ms(10)}};
  ASSERT_TRUE(store().touch(call_, late));
  ASSERT_TRUE(store().touch(call_, early));
  EXPECT_EQ(store().recently_active(call_, 1)->front(), tenant_id("a"));
}

TEST_P(KeyStoreContract, ACounterGivesEachValueOnceUpToItsLimit) {
  EXPECT_EQ(*store().reserve(call_, "nonces", 10, 25), 0U);
  EXPECT_EQ(*store().reserve(call_, "nonces", 10, 25), 10U);
  EXPECT_EQ(*store().reserve(call_, "others", 1, 25), 0U);
  EXPECT_EQ(code_of(store().reserve(call_, "nonces", 6, 25)), ErrorCode::conflict);
  EXPECT_EQ(*store().reserve(call_, "nonces", 5, 25), 20U);
  EXPECT_EQ(code_of(store().reserve(call_, "nonces", 1, 25)), ErrorCode::conflict);
  EXPECT_EQ(code_of(store().reserve(call_, "nonces", 1, 5)), ErrorCode::conflict);
  EXPECT_EQ(*store().reserve(call_, "nonces", 1, 26), 25U);
}

TEST_P(KeyStoreContract, ACounterDoesNotOverflow) {
  constexpr auto huge = std::numeric_limits<std::uint64_t>::max();
  ASSERT_TRUE(store().reserve(call_, "n", 1, huge));
  EXPECT_EQ(code_of(store().reserve(call_, "n", huge, huge)), ErrorCode::conflict);
  EXPECT_EQ(*store().reserve(call_, "n", 1, huge), 1U);
}

TEST_P(KeyStoreContract, CountsFollowTenantsAndTheOldestActiveKey) {
  auto counted = store().counts(call_);
  EXPECT_EQ(counted->tenants, 0U);
  EXPECT_FALSE(counted->oldest_active_key);
  create("a", 2'000);
  create("b", 1'000);
  ASSERT_TRUE(store().insert_service_key(
      call_, key_record({.tenant = TenantId::service(), .created_ms = 5})));
  auto gone = tenant_record("gone", 3);
  gone.destroyed = true;
  ASSERT_TRUE(store().create_tenant(call_, gone, both_keys(gone.id, 1, 3)));
  counted = store().counts(call_);
  EXPECT_EQ(counted->tenants, 2U);
  EXPECT_EQ(counted->oldest_active_key, at_ms(1'000));
  ASSERT_TRUE(rotate(store(), call_, both_keys(tenant_id("b"), 2, 9'000)));
  EXPECT_EQ(store().counts(call_)->oldest_active_key, at_ms(2'000));
}

TEST_P(KeyStoreContract, AStoreDescribesItself) { EXPECT_FALSE(store().description().empty()); }

}  // namespace
}  // namespace betrace::kms::testing
