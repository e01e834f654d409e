// A SQLite store in a folder of its own, and a second hand on the same file.
#pragma once

#include <memory>
#include <string>

#include <gmock/gmock-matchers.h>
#include <gtest/gtest.h>

#include "stores/sqlite_key_store.h"
#include "stores/sqlite_store.h"
#include "support/store_raw_sqlite.h"
#include "support/store_records.h"

namespace betrace::kms::testing {

class SqliteTest : public ::testing::Test {
 protected:
  using Store = std::unique_ptr<KeyStore>;

  Result<Store> try_open(SqliteOptions options = {}) {
    if (options.path.empty()) options.path = path();
    return open_sqlite_store(std::move(options));
  }
  Store open(SqliteOptions options = {}) {
    auto opened = try_open(std::move(options));
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? *std::move(opened) : nullptr;
  }
  std::string path() const { return folder_.file(); }
  const TemporaryFolder& folder() const { return folder_; }

  Status create(KeyStore& store, std::string_view tenant) {
    return store.create_tenant(call_, tenant_record(tenant), both_keys(tenant_id(tenant)));
  }
  bool has(KeyStore& store, std::string_view tenant) {
    return store.find_active_key(call_, tenant_id(tenant), KeyType::signing).has_value() &&
           store.find_active_key(call_, tenant_id(tenant), KeyType::encryption).has_value();
  }

  const CallContext call_ = CallContext::system("test");

 private:
  TemporaryFolder folder_;
};

// Expects store_unavailable with every one of `words` in its message.
template <class T>
void expect_unavailable(const Result<T>& result, std::initializer_list<std::string_view> words) {
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::store_unavailable);
  for (const auto word : words) {
    EXPECT_THAT(result.error().message, ::testing::HasSubstr(std::string(word)));
  }
}

}  // namespace betrace::kms::testing
