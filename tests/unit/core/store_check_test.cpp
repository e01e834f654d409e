#include "core/store_check.h"

#include <gmock/gmock-matchers.h>

#include "support/life_fixture.h"

namespace betrace::kms {
namespace {

using ::testing::HasSubstr;

struct StoreCheckTest : LifeFixture {
  StoreCheckTest() {
    create(acme);
    create(other);
    EXPECT_TRUE(rotate(acme));
  }
  StoreReport check() {
    auto report = check_store(call, store, [](std::uint64_t, std::uint64_t) {});
    EXPECT_TRUE(report) << report.error().message;
    return report.value_or(StoreReport());
  }
  // The only problem.
  std::string problem() {
    const auto report = check();
    EXPECT_EQ(report.problems_found, 1U);
    return report.problems.empty() ? "" : report.problems.front().problem;
  }
};

TEST_F(StoreCheckTest, CountsTenantsAndKeysByState) {
  const auto report = check();
  EXPECT_EQ(report.problems_found, 0U);
  EXPECT_EQ(report.tenants, 2U);
  EXPECT_EQ(report.destroyed_tenants, 0U);
  EXPECT_EQ((report.keys.at({KeyType::signing, KeyState::active})), 2U);
  EXPECT_EQ((report.keys.at({KeyType::signing, KeyState::rotated})), 1U);
  EXPECT_EQ((report.keys.at({KeyType::encryption, KeyState::active})), 2U);
  ASSERT_EQ(report.wrappings.size(), 1U);
  EXPECT_EQ(report.wrappings.front().keys, 7U);
}

TEST_F(StoreCheckTest, ARevokedAndADestroyedTenantAreNoProblem) {
  const auto one = daemon("one");
  auto revoked = revoke(*one, acme, active(acme).id);
  auto destroyed = destroy(*one, other);
  settle({one.get()});
  ASSERT_TRUE(revoked && *revoked && destroyed && *destroyed);
  const auto report = check();
  EXPECT_EQ(report.problems_found, 0U);
  EXPECT_EQ(report.tenants, 1U);
  EXPECT_EQ(report.destroyed_tenants, 1U);
}

TEST_F(StoreCheckTest, ADestructionUnderWayIsNoProblem) {
  const auto one = daemon("one");
  auto destroyed = destroy(*one, other);
  EXPECT_FALSE(destroyed);
  EXPECT_EQ(check().problems_found, 0U);
}

TEST_F(StoreCheckTest, APublicKeyThatWasSwappedIsFound) {
  const auto stranger = active(other).public_key;
  ASSERT_TRUE(store.edit_key(active(acme).id, [&](KeyRecord& key) { key.public_key = stranger; }));
  const auto report = check();
  ASSERT_EQ(report.problems_found, 2U);  // neither vouched for, nor what the predecessor signed
  EXPECT_THAT(report.problems[0].problem, HasSubstr("does not vouch"));
  EXPECT_THAT(report.problems[1].problem, HasSubstr("succession from version 1"));
  EXPECT_EQ(report.problems[0].tenant, "acme");
  EXPECT_EQ(report.problems[0].key, active(acme).id.str());
}

TEST_F(StoreCheckTest, AForgedSuccessionIsFound) {
  ASSERT_TRUE(store.edit_key(active(acme).id,
                             [](KeyRecord& key) { key.succession->by_predecessor[0] ^= 1; }));
  EXPECT_THAT(problem(), HasSubstr("the succession from version 1 does not verify"));
}

TEST_F(StoreCheckTest, AKeyWithoutAWrappedFormIsFound) {
  ASSERT_TRUE(store.edit_key(active(acme, KeyType::encryption).id,
                             [](KeyRecord& key) { key.wrappings.clear(); }));
  EXPECT_THAT(problem(), HasSubstr("has no wrapped form"));
}

TEST_F(StoreCheckTest, ADestroyedKeyWithAWrappedFormIsFound) {
  ASSERT_TRUE(store.edit_key(active(other).id,
                             [&](KeyRecord& key) { key.secret_destroyed_at = clock.now(); }));
  EXPECT_THAT(problem(), HasSubstr("is destroyed and has a wrapped form"));
}

TEST_F(StoreCheckTest, ANoteThatCannotBeReadIsFound) {
  ASSERT_TRUE(store.commit(call, {change::Note{.name = "destroyed/carl", .text = "{"}}));
  EXPECT_THAT(problem(), HasSubstr("note of a destruction cannot be read"));
  EXPECT_EQ(check().problems.front().tenant, "carl");
}

TEST_F(StoreCheckTest, ATenantWithoutAnActiveKeyIsFound) {
  ASSERT_TRUE(
      store.edit_key(active(acme).id, [](KeyRecord& key) { key.state = KeyState::rotated; }));
  EXPECT_THAT(problem(), HasSubstr("0 active signing keys, one is expected"));
}

TEST_F(StoreCheckTest, AStoreThatCannotBeReadIsAnErrorAndNoFinding) {
  store.before_each([](std::string_view verb) -> Status {
    if (verb != "find_key") return {};
    return fail(ErrorCode::store_unavailable, "the disk is gone");
  });
  const auto report = check_store(call, store, [](std::uint64_t, std::uint64_t) {});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::store_unavailable);
}

}  // namespace
}  // namespace betrace::kms
