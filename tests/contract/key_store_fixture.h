// Runs a test over every store that needs no server: a row here holds a store to the contract.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "betrace/kms/key_store.h"

#include "stores/memory_store.h"
#include "stores/sqlite_store.h"
#include "support/store_records.h"

namespace betrace::kms::testing {

struct StoreKind {
  std::string name;
  Result<std::unique_ptr<KeyStore>> (*open)(const TemporaryFolder& folder, LeaseClock clock);
};

inline const StoreKind store_kinds[] = {
    {"Memory",
     [](const TemporaryFolder&, LeaseClock clock) -> Result<std::unique_ptr<KeyStore>> {
       return std::make_unique<MemoryStore>(std::move(clock));
     }},
    {"Sqlite",
     [](const TemporaryFolder& folder, LeaseClock clock) {
       return open_sqlite_store({.path = folder.file(), .lease_clock = std::move(clock)});
     }},
};

class KeyStoreContract : public ::testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override {
    auto opened = GetParam().open(
        folder_, [this] { return LeaseTime{.boot = "boot", .milliseconds = lease_ms_.load()}; });
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = *std::move(opened);
  }
  KeyStore& store() { return *store_; }
  void create(std::string_view tenant, std::int64_t created_ms = 1'000) {
    const auto keys = both_keys(tenant_id(tenant), 1, created_ms);
    const auto done = store().create_tenant(call_, tenant_record(tenant, created_ms), keys);
    ASSERT_TRUE(done) << done.error().message;
  }
  KeyRecord active(std::string_view tenant, KeyType type = KeyType::signing) {
    auto key = store().find_active_key(call_, tenant_id(tenant), type);
    EXPECT_TRUE(key) << key.error().message;
    return key.value_or(KeyRecord{.tenant = tenant_id("none")});
  }
  Status change_state(const KeyId& key, KeyState from, KeyState to, std::int64_t ms = 8'000,
                      std::string reason = {}) {
    return store().commit(
        call_,
        {change::Transition{
            .key = key, .from = from, .to = to, .at = at_ms(ms), .reason = std::move(reason)}});
  }
  static Wrapping by_aws(std::string master_key_id) {
    return {.provider = "aws", .master_key_id = std::move(master_key_id), .blob = {1, 2, 3}};
  }
  std::uint64_t generation() { return store().generation(call_).value_or(~0ULL); }

  const CallContext call_ = CallContext::system("test");
  std::atomic<std::int64_t> lease_ms_{1'000};  // what the store's clock shows

 private:
  TemporaryFolder folder_;
  std::unique_ptr<KeyStore> store_;
};

inline std::string store_name(const ::testing::TestParamInfo<StoreKind>& info) {
  return info.param.name;
}

template <class T>
ErrorCode code_of(const Result<T>& result) {
  EXPECT_FALSE(result.has_value()) << "an error was expected";
  if (result.has_value()) return ErrorCode::internal;
  EXPECT_FALSE(result.error().message.empty());
  return result.error().code;
}

}  // namespace betrace::kms::testing
