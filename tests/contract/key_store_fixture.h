// Runs a test over every store that needs no server: a row here holds a store to the contract.
#pragma once

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
  Result<std::unique_ptr<KeyStore>> (*open)(const TemporaryFolder& folder);
};

inline const StoreKind store_kinds[] = {
    {"Memory",
     [](const TemporaryFolder&) -> Result<std::unique_ptr<KeyStore>> {
       return std::make_unique<MemoryStore>();
     }},
    {"Sqlite",
     [](const TemporaryFolder& folder) { return open_sqlite_store({.path = folder.file()}); }},
};

class KeyStoreContract : public ::testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override {
    auto opened = GetParam().open(folder_);
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
  std::uint64_t generation() { return store().generation(call_).value_or(~0ULL); }

  const CallContext call_ = CallContext::system("test");

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
