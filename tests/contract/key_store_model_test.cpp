// Random operations on the store on SQLite and on the one in memory: both must answer the same.
#include <algorithm>
#include <random>

#include <fmt/format.h>

#include "contract/key_store_fixture.h"
#include "stores/records.h"

namespace betrace::kms::testing {
namespace {

std::string text_of(const KeyRecord& key) {
  std::string text = fmt::format(
      "{} {} {} v{} {} {} {} '{}' {}", key.id.str(), key.tenant.str(), to_string(key.type),
      key.version, to_string(key.state), key.created_at.time_since_epoch().count(),
      key.state_changed_at ? key.state_changed_at->time_since_epoch().count() : -1, key.reason,
      key.public_key.size());
  if (key.secret_destroyed_at) {
    text += fmt::format(" gone at {}", key.secret_destroyed_at->time_since_epoch().count());
  }
  if (key.succession) text += fmt::format(" succession {}", to_string(key.succession->kind));
  for (const auto& wrapping : key.wrappings) {
    text +=
        fmt::format(" {}/{}/{}", wrapping.provider, wrapping.master_key_id, wrapping.blob.size());
  }
  return text;
}
std::string text_of(const TenantRecord& tenant) {
  return fmt::format("{} {} {}", tenant.id.str(), tenant.created_at.time_since_epoch().count(),
                     tenant.destroyed);
}
std::string text_of(const TenantId& tenant) { return tenant.str(); }
std::string text_of(std::uint64_t number) { return std::to_string(number); }
std::string text_of(const Replacement& each) {
  return each.predecessor.str() + " " + text_of(each.successor);
}
std::string text_of(const WrappingCount& count) {
  return fmt::format("{}/{} {}", count.provider, count.master_key_id, count.keys);
}
std::string text_of(const std::optional<std::string>& text) { return text.value_or("none"); }
std::string text_of(const std::pair<std::string, std::string>& note) {
  return note.first + "=" + note.second;
}
std::string text_of(const StoreCounts& counts) {
  const auto oldest = counts.oldest_active_key;
  return fmt::format("{} {}", counts.tenants, oldest ? oldest->time_since_epoch().count() : -1);
}
template <class T>
std::string text_of(const std::vector<T>& items) {
  std::string text;
  for (const auto& item : items) text += text_of(item) + "\n";
  return text;
}
template <class T>
std::string answer(const Result<T>& result) {
  if (!result) return std::string(to_string(result.error().code));
  if constexpr (std::is_void_v<T>) {
    return "ok";
  } else {
    return text_of(*result);
  }
}

// A run of operations, decided by its seed alone, on both stores at once.
class RandomRun {
 public:
  RandomRun(std::uint32_t seed, KeyStore& model, KeyStore& store)
      : random_(seed), stores_{&model, &store} {}

  void step() {
    const auto tenant = any_tenant();
    switch (below(12)) {
      case 0:
        return create(tenant);
      case 1:
        return rotate(tenant);
      case 2:
        return change(tenant);
      case 3:
        return touch();
      case 4: {
        const auto count = below(50);
        return same([&](KeyStore& store) { return store.reserve(call_, "counter", count, 800); });
      }
      case 5: {
        auto key = key_record({TenantId::service(), KeyType::signing, 1 + below(3), time()});
        return same([&](KeyStore& store) { return store.insert_service_key(call_, key); });
      }
      default:
        return read(tenant);
    }
  }

  // The changes since the last time must name the same tenants.
  void compare_changes() {
    std::vector<std::string> seen[2];
    for (int i = 0; i < 2; ++i) {
      const auto changes = stores_[i]->changes_since(call_, generation_[i]);
      ASSERT_TRUE(changes);
      ASSERT_FALSE(changes->everything);
      generation_[i] = changes->generation;
      for (const auto& tenant : changes->tenants) seen[i].push_back(tenant.str());
      std::ranges::sort(seen[i]);
    }
    EXPECT_EQ(seen[0], seen[1]);
  }

 private:
  template <class Call>
  void same(Call call) {
    const auto expected = answer(call(*stores_[0]));
    EXPECT_EQ(answer(call(*stores_[1])), expected);
  }
  std::uint32_t below(std::uint32_t limit) { return random_() % limit; }
  std::int64_t time() { return 1'000 + below(1'000); }
  TenantId any_tenant() {
    const auto number = below(9);
    return number == 8 ? TenantId::service() : tenant_id(fmt::format("t{}", number));
  }
  KeyType any_type() { return below(2) == 0 ? KeyType::signing : KeyType::encryption; }
  KeyState any_state() { return static_cast<KeyState>(below(4)); }

  void create(const TenantId& tenant) {
    auto record = tenant_record(tenant.str(), time());
    record.destroyed = below(8) == 0;
    auto keys = both_keys(tenant, 1, time());
    if (below(4) == 0) keys.pop_back();
    if (below(6) == 0 && !ids_.empty()) keys[0].id = ids_[below(ids_.size())];
    keys[0].wrappings[0].provider = below(2) == 0 ? "aws" : "local";
    remember(keys);
    same([&](KeyStore& store) { return store.create_tenant(call_, record, keys); });
  }
  void rotate(const TenantId& tenant) {
    auto successors = both_keys(tenant, 2 + below(4), time());
    if (const auto active = stores_[0]->find_active_key(call_, tenant, KeyType::signing)) {
      for (auto& key : successors) key.version = active->version + 1;
    }
    for (auto& key : successors) {
      const bool follows = key.type == KeyType::signing && key.version > 1;
      if (!follows) key.succession.reset();
    }
    if (below(3) == 0) successors.pop_back();
    if (below(6) == 0 && !ids_.empty()) successors[0].id = ids_[below(ids_.size())];
    remember(successors);
    auto commit = replacing(*stores_[0], call_, successors);
    if (below(5) == 0) commit.erase(commit.begin());
    committed(commit);
  }
  // One to three changes of keys that are there or are not, all or none.
  void change(const TenantId& tenant) {
    Commit commit;
    for (auto n = 1 + below(3); n > 0; --n) commit.push_back(any_change(tenant));
    if (below(2) == 0) return committed(commit);
    const Commit commits[] = {commit, {any_change(tenant)}};
    std::string answers[2];
    for (int i = 0; i < 2; ++i) {
      for (const auto& each : stores_[i]->commit_each(call_, commits)) answers[i] += answer(each);
    }
    EXPECT_EQ(answers[1], answers[0]);
  }
  Change any_change(const TenantId& tenant) {
    const auto keys = stores_[0]->list_keys(call_, tenant);
    const bool known = keys && !keys->empty();
    const auto key = known ? (*keys)[below(keys->size())] : key_record({});
    const std::string provider = below(2) == 0 ? "aws" : "local";
    switch (below(8)) {
      case 0:
        return change::AddWrapping{
            .key = key.id,
            .wrapping = {.provider = provider, .master_key_id = "local-master-key", .blob = {1}}};
      case 1:
        return change::RemoveWrapping{
            .key = key.id, .provider = provider, .master_key_id = "local-master-key"};
      case 2:
        return change::DestroySecret{.key = key.id, .at = at_ms(time())};
      case 3:
        if (below(4) == 0) return change::CloseTenant{tenant};
        [[fallthrough]];
      case 4: {
        const auto name = fmt::format("note/{}", below(4));
        if (below(3) == 0) return change::Note{.name = name, .text = {}};
        return change::Note{.name = name, .text = fmt::format("text {}", below(100))};
      }
      case 5:
        return change::Fence{.lease = "job", .number = below(3)};
      default:
        return change::Transition{.key = key.id,
                                  .from = below(3) == 0 ? any_state() : key.state,
                                  .to = any_state(),
                                  .at = at_ms(time()),
                                  .reason = "because"};
    }
  }
  void committed(const Commit& commit) {
    same([&](KeyStore& store) { return store.commit(call_, commit); });
  }
  void touch() {
    std::vector<std::pair<TenantId, SystemTime>> activity;
    for (auto n = below(4); n > 0; --n) activity.emplace_back(any_tenant(), at_ms(time()));
    same([&](KeyStore& store) { return store.touch(call_, activity); });
  }
  void read(const TenantId& tenant) {
    const auto type = any_type();
    const auto version = 1 + below(5);
    const Page page{.after = fmt::format("t{}", below(8)), .limit = below(5)};
    same([&](KeyStore& store) { return store.find_active_key(call_, tenant, type); });
    same([&](KeyStore& store) { return store.find_key(call_, tenant, type, version); });
    same([&](KeyStore& store) { return store.list_keys(call_, tenant); });
    same([&](KeyStore& store) { return store.find_tenant(call_, tenant); });
    same([&](KeyStore& store) { return store.list_tenants(call_, page); });
    same([&](KeyStore& store) { return store.recently_active(call_, version); });
    same([&](KeyStore& store) { return store.counts(call_); });
    const auto before = at_ms(time());
    const AgePlace after{.created_at = at_ms(time() - 500), .tenant = page.after, .type = type};
    same([&](KeyStore& store) { return store.keys_created_before(call_, before, after, version); });
    same([&](KeyStore& store) { return store.count_tenants_with_keys_before(call_, before); });
    same([&](KeyStore& store) {
      return store.replacements_between(call_, after.created_at, before, version);
    });
    same([&](KeyStore& store) { return store.retired_seeds(call_, before, version); });
    const auto id = ids_.empty() ? KeyId() : ids_[below(ids_.size())];
    std::vector<MasterKey> masters{{.provider = "aws", .master_key_id = "local-master-key"}};
    if (below(2) == 0)
      masters.push_back({.provider = "local", .master_key_id = "local-master-key"});
    same([&](KeyStore& store) { return store.keys_not_wrapped_by(call_, masters, id, version); });
    same([&](KeyStore& store) { return store.count_keys_not_wrapped_by(call_, masters); });
    same([&](KeyStore& store) { return store.wrapping_counts(call_); });
    same([&](KeyStore& store) { return store.find_note(call_, "note/1"); });
    same([&](KeyStore& store) { return store.list_notes(call_, "note/", "note/0", version); });
  }
  void remember(const std::vector<KeyRecord>& keys) {
    for (const auto& key : keys) ids_.push_back(key.id);
  }

  std::mt19937 random_;
  KeyStore* stores_[2];
  std::uint64_t generation_[2] = {0, 0};
  std::vector<KeyId> ids_;
  const CallContext call_ = CallContext::system("test");
};

TEST(KeyStoreModel, SqliteAnswersAsMemoryDoesOverRandomOperations) {
  for (std::uint32_t seed = 1; seed <= 6; ++seed) {
    const TemporaryFolder folder;
    const auto store = open_sqlite_store({.path = folder.file()});
    ASSERT_TRUE(store);
    MemoryStore model;
    RandomRun run(seed, model, **store);
    for (int step = 0; step < 250; ++step) {
      run.step();
      if (step % 5 == 0) run.compare_changes();
      ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed << ", step " << step;
    }
  }
}

}  // namespace
}  // namespace betrace::kms::testing
