// What the memory store has for tests beyond the contract.
#include "stores/memory_store.h"

#include <gtest/gtest.h>

#include "support/store_records.h"

namespace betrace::kms::testing {
namespace {

class InMemory : public ::testing::Test {
 protected:
  InMemory() {
    EXPECT_TRUE(store_.create_tenant(call_, tenant_record("a"), both_keys(tenant_id("a"))));
  }
  Result<TenantRecord> find() { return store_.find_tenant(call_, tenant_id("a")); }

  const CallContext call_ = CallContext::system("test");
  MemoryStore store_;
};

TEST_F(InMemory, FailsAsOftenAsItIsTold) {
  store_.fail_next({.code = ErrorCode::store_unavailable, .message = "gone"}, 2);
  EXPECT_EQ(find().error().message, "gone");
  EXPECT_EQ(store_.generation(call_).error().code, ErrorCode::store_unavailable);
  EXPECT_TRUE(find());
}

TEST_F(InMemory, ShowsEveryCallToTheHookWhichMayRefuseIt) {
  std::vector<std::string> verbs;
  store_.before_each([&](std::string_view verb) -> Status {
    verbs.emplace_back(verb);
    if (verb == "counts") return fail(ErrorCode::store_unavailable, "not now");
    return {};
  });
  EXPECT_TRUE(find());
  EXPECT_FALSE(store_.counts(call_));
  EXPECT_EQ(verbs, (std::vector<std::string>{"find_tenant", "counts"}));
}

TEST_F(InMemory, AnEditByHandIsAChange) {
  const auto at = *store_.generation(call_);
  const auto key = *store_.find_active_key(call_, tenant_id("a"), KeyType::signing);
  ASSERT_TRUE(store_.edit_key(key.id, [](KeyRecord& row) { row.public_key = Bytes(32, 9); }));
  EXPECT_EQ(store_.find_active_key(call_, key.tenant, key.type)->public_key, Bytes(32, 9));
  EXPECT_EQ(store_.changes_since(call_, at)->tenants, std::vector{key.tenant});
  EXPECT_FALSE(store_.edit_key(KeyId(), [](KeyRecord&) {}));
}

}  // namespace
}  // namespace betrace::kms::testing
