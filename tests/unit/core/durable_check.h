// Whether a daemon keeps what a ledger says was promised, and whether its store is whole.
#pragma once

#include <algorithm>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "core/destruction.h"
#include "support/store_raw_sqlite.h"
#include "unit/core/durable_script.h"

namespace betrace::kms::testing {

class DurableCheck {
 public:
  DurableCheck(DurableDaemon& daemon, const Ledger& ledger) : daemon_(daemon), ledger_(ledger) {}

  void everything() {
    expect_seeds(TenantId::service());
    for (const auto& [tenant, told] : ledger_.created) expect_tenant(tenant, told);
    for (const auto& each : ledger_.signatures) expect_verifies(each);
    for (const auto& each : ledger_.ciphertexts) expect_opens(each);
    for (const auto& [key, tenant] : ledger_.keys) {
      EXPECT_TRUE(versions_.contains(key)) << tenant.str() << " lost key " << key.str();
    }
    expect_counters();
  }
  // Every destruction that was begun has ended, whole.
  void no_destruction_is_left() {
    const auto begun = store().list_notes(call(), destroying_prefix, "", 10);
    ASSERT_TRUE(begun) << begun.error().message;
    EXPECT_TRUE(begun->empty()) << begun->front().second;
  }

 private:
  KeyStore& store() { return *daemon_.store; }
  const CallContext& call() { return daemon_.keys.call; }

  // Reads all versions; every wrapped form is the key that the row says it is.
  std::vector<KeyRecord> expect_seeds(const TenantId& tenant) {
    std::vector<KeyRecord> keys;
    if (tenant.is_service()) {
      auto key = store().find_active_key(call(), tenant, KeyType::signing);
      if (key) keys.push_back(*std::move(key));
    } else if (const auto list = store().list_keys(call(), tenant)) {
      for (const auto& key : *list) {
        keys.push_back(store().find_key(call(), tenant, key.type, key.version).value());
      }
    }
    for (const auto& key : keys) {
      versions_.insert_or_assign(key.id, key);
      for (const auto& wrapping : key.wrappings) {
        const auto seed = daemon_.world.provider(wrapping.provider)
                              .decrypt(call(), wrapping, key_context(tenant, key.type));
        EXPECT_TRUE(seed) << "a wrapped form of " << key.id.str() << " does not open";
        if (!seed || key.type != KeyType::signing) continue;
        const auto pair = ed25519_key_from_seed(*seed);
        EXPECT_TRUE(std::ranges::equal(ed25519_public_half(pair), key.public_key))
            << key.id.str() << " is another key";
      }
    }
    return keys;
  }

  void expect_tenant(const TenantId& tenant, Told created) {
    const auto found = store().find_tenant(call(), tenant);
    if (!found) {
      EXPECT_EQ(found.error().code, ErrorCode::tenant_not_found) << found.error().message;
      EXPECT_NE(created, Told::done) << tenant.str() << " is lost";
      return;
    }
    const auto keys = expect_seeds(tenant);
    const auto told = ledger_.told(ledger_.destroyed, tenant);
    if (found->destroyed) {
      EXPECT_NE(told, Told::nothing) << tenant.str() << " was destroyed unasked";
      return expect_closed(tenant, keys, told);
    }
    EXPECT_NE(told, Told::done) << tenant.str() << " is open again";
    for (const auto type : {KeyType::signing, KeyType::encryption}) {
      EXPECT_EQ(std::ranges::count_if(keys,
                                      [&](const KeyRecord& key) {
                                        return key.type == type && key.state == KeyState::active;
                                      }),
                1)
          << tenant.str() << " " << to_string(type);
    }
    for (const auto& key : keys) expect_state(key);
    const auto signature = daemon_.keys.sign(tenant, "now");
    ASSERT_TRUE(signature) << signature.error().message;
    EXPECT_TRUE(daemon_.keys.verify(tenant, "now", signature->bytes)->trusted);
    const auto sealed = daemon_.keys.encrypt(tenant, "now");
    ASSERT_TRUE(sealed) << sealed.error().message;
    EXPECT_EQ(daemon_.keys.decrypt(tenant, *sealed), "now");
    expect_published(tenant);
  }

  void expect_published(const TenantId& tenant) {
    const auto keys = wait<std::vector<PublicKey>>(
        [&](auto done) { daemon_.keys.service->public_keys(call(), tenant, std::move(done)); });
    EXPECT_TRUE(keys) << keys.error().message;
  }

  // Nobody may do with a key what its end forbids, nor end one that nobody asked for.
  void expect_state(const KeyRecord& key) {
    const auto revoked = ledger_.told(ledger_.revoked, key.id);
    const auto destroyed = ledger_.told(ledger_.key_destroyed, key.id);
    if (revoked == Told::done) {
      EXPECT_EQ(key.state, KeyState::revoked) << key.id.str();
    }
    if (destroyed == Told::done) {
      EXPECT_EQ(key.state, KeyState::destroyed) << key.id.str();
    }
    if (revoked == Told::nothing) {
      EXPECT_NE(key.state, KeyState::revoked) << key.id.str();
    }
    const auto seeds = ledger_.old_seeds_destroyed;
    const bool old_seed = key.type == KeyType::signing && key.state == KeyState::rotated;
    if (old_seed && seeds == Told::done) {
      EXPECT_TRUE(key.wrappings.empty()) << key.id.str() << " is an old seed";
    }
    if (destroyed == Told::nothing) {
      EXPECT_NE(key.state, KeyState::destroyed) << key.id.str();
      EXPECT_TRUE(!key.wrappings.empty() || (old_seed && seeds != Told::nothing)) << key.id.str();
    }
    if (key.state == KeyState::active) {
      EXPECT_EQ(key.wrappings.size(), 1U) << key.id.str();
    }
    if (key.state == KeyState::destroyed) {
      EXPECT_TRUE(key.wrappings.empty()) << key.id.str();
    }
  }

  void expect_closed(const TenantId& tenant, const std::vector<KeyRecord>& keys, Told told) {
    const auto gone =
        std::ranges::count_if(keys, [](const KeyRecord& key) { return key.wrappings.empty(); });
    const bool none_is_left = gone == std::ssize(keys);
    if (!none_is_left) {
      EXPECT_EQ(told, Told::asked) << tenant.str() << " still has keys";
      const bool seeds = ledger_.old_seeds_destroyed != Told::nothing;
      for (const auto& key : keys) {
        const bool may_lack =
            seeds && key.type == KeyType::signing && key.state == KeyState::rotated;
        EXPECT_TRUE(may_lack || !key.wrappings.empty()) << tenant.str() << " is half destroyed";
      }
    }
    const auto signature = daemon_.keys.sign(tenant, "now");
    EXPECT_TRUE(!signature && signature.error().code == ErrorCode::destroyed) << tenant.str();
    const auto sealed = daemon_.keys.encrypt(tenant, "now");
    EXPECT_TRUE(!sealed && sealed.error().code == ErrorCode::destroyed) << tenant.str();
    expect_published(tenant);
  }

  void expect_verifies(const Ledger::Signed& each) {
    const auto verified = daemon_.keys.verify(each.tenant, each.payload, each.signature.bytes);
    ASSERT_TRUE(verified) << each.payload << ": " << verified.error().message;
    EXPECT_TRUE(verified->valid) << each.payload;
    EXPECT_EQ(verified->key_id, each.signature.key_id) << each.payload;
    const auto revoked = ledger_.told(ledger_.revoked, each.signature.key_id);
    if (revoked == Told::nothing) {
      EXPECT_TRUE(verified->trusted) << each.payload;
    }
    if (revoked == Told::done) {
      EXPECT_FALSE(verified->trusted) << each.payload;
    }
  }

  void expect_opens(const Ledger::Sealed& each) {
    const auto opened = daemon_.keys.decrypt(each.tenant, each.ciphertext, sealed_context, true);
    const auto version = sealed_version(each.ciphertext).value();
    auto told = ledger_.told(ledger_.destroyed, each.tenant);
    for (const auto& [id, key] : versions_) {
      if (key.tenant != each.tenant || key.type != KeyType::encryption || key.version != version) {
        continue;
      }
      ++uses_[id];
      told = std::max(told, ledger_.told(ledger_.key_destroyed, id));
    }
    if (opened) {
      EXPECT_EQ(*opened, each.plaintext);
      EXPECT_NE(told, Told::done) << each.plaintext << " is readable still";
    } else {
      EXPECT_NE(told, Told::nothing) << each.plaintext << ": " << opened.error().message;
      EXPECT_EQ(opened.error().code, ErrorCode::destroyed) << opened.error().message;
    }
  }

  void expect_counters() {
    const auto next = store().reserve(call(), "lot", 1, 100'000);
    ASSERT_TRUE(next) << next.error().message;
    EXPECT_GE(*next, ledger_.counter) << "a value is given to two";
    for (const auto& [key, uses] : uses_) {
      const auto spent = store().reserve(call(), "nonce:" + key.str(), 1, 100'000);
      ASSERT_TRUE(spent) << spent.error().message;
      EXPECT_GE(*spent, uses) << "nonces of " << key.str() << " are forgotten";
    }
    const auto active = store().recently_active(call(), 100).value();
    for (const auto& tenant : ledger_.active) {
      if (ledger_.is_open(tenant)) {
        EXPECT_TRUE(std::ranges::find(active, tenant) != active.end());
      }
    }
  }

  DurableDaemon& daemon_;
  const Ledger& ledger_;
  std::map<KeyId, KeyRecord> versions_;
  std::map<KeyId, std::uint64_t> uses_;
};

// As a person with the sqlite3 shell sees it.
inline void expect_whole_file(const std::string& path) {
  RawSqlite shell(path);
  EXPECT_EQ(shell.value("PRAGMA integrity_check"), "ok");
  EXPECT_EQ(shell.value("SELECT count(*) FROM pragma_foreign_key_check"), "0");
  EXPECT_EQ(shell.value("SELECT count(*) FROM (SELECT 1 FROM keys WHERE state = 'active'"
                        " GROUP BY tenant, type HAVING count(*) > 1)"),
            "0");
}

}  // namespace betrace::kms::testing
