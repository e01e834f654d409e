// How the store in memory changes keys, and finds them by what has become of them.
#include <algorithm>
#include <set>
#include <utility>

#include "base/try.h"
#include "stores/memory_store.h"
#include "stores/records.h"

namespace betrace::kms {
namespace {

auto name_of(const Wrapping& wrapping) {
  return std::pair(std::string_view(wrapping.provider), std::string_view(wrapping.master_key_id));
}

using WrappingName = std::pair<std::string_view, std::string_view>;
bool has(const std::vector<Wrapping>& wrappings, const WrappingName& name) {
  return std::ranges::find(wrappings, name, name_of) != wrappings.end();
}

// One by each of these master keys, and none by others.
bool are_by(const std::vector<Wrapping>& wrappings, std::span<const MasterKey> masters) {
  return wrappings.size() == masters.size() &&
         std::ranges::all_of(masters, [&](const MasterKey& each) {
           return has(wrappings, {each.provider, each.master_key_id});
         });
}

// Where a listing by age has a key.
auto place_of(const KeyRecord& key) {
  return std::tuple(key.created_at, std::string_view(key.tenant.str()), to_string(key.type));
}

}  // namespace

struct MemoryStore::Apply {
  MemoryStore& store;

  Result<KeyRecord*> key(const KeyId& id) const {
    auto* const found = store.by_id(id);
    if (found == nullptr) return no_such_key(id);
    return found;
  }

  Status operator()(const change::AddKey& add) const {
    const auto& key = add.key;
    TRY(check_added_key(key));
    if (!key.tenant.is_service()) {
      const auto found = store.rows_.tenants.find(key.tenant);
      if (found == store.rows_.tenants.end()) return tenant_not_found(key.tenant);
      if (found->second.record.destroyed) return tenant_destroyed(key.tenant);
    }
    if (key.state == KeyState::active && store.active(key.tenant, key.type) != nullptr) {
      return not_the_active_version(key);
    }
    const auto newer = store.rows_.keys.lower_bound(version_of(key));
    const bool exists = newer != store.rows_.keys.end() && newer->second.tenant == key.tenant &&
                        newer->second.type == key.type;
    if (exists || store.rows_.ids.contains(key.id)) return key_exists(key);
    store.insert(key);
    return {};
  }

  Status operator()(const change::Transition& step) const {
    auto& row = *TRY(key(step.key));
    if (row.state != step.from) return not_in_state(step.key, step.from, row.state);
    if (step.to == KeyState::active) return never_active_again(step.key);
    row.state = step.to;
    row.state_changed_at = step.at;
    row.reason = step.reason;
    store.log_change(row.tenant);
    return {};
  }

  Status operator()(const change::AddWrapping& add) const {
    auto& row = *TRY(key(add.key));
    const auto name = name_of(add.wrapping);
    if (has(row.wrappings, name)) {
      return wrapping_exists(add.key, add.wrapping);
    }
    if (row.wrappings.empty()) return secret_is_gone(add.key);
    row.wrappings.insert(std::ranges::lower_bound(row.wrappings, name, {}, name_of), add.wrapping);
    store.log_change(row.tenant);
    return {};
  }

  Status operator()(const change::RemoveWrapping& remove) const {
    auto& row = *TRY(key(remove.key));
    const WrappingName name(remove.provider, remove.master_key_id);
    if (std::ranges::count(row.wrappings, name, name_of) == std::ssize(row.wrappings)) {
      return last_wrapping(remove.key);
    }
    if (std::erase_if(row.wrappings, [&](const auto& each) { return name_of(each) == name; }) > 0) {
      store.log_change(row.tenant);
    }
    return {};
  }

  Status operator()(const change::DestroySecret& destroy) const {
    auto& row = *TRY(key(destroy.key));
    row.wrappings.clear();
    if (!row.secret_destroyed_at) row.secret_destroyed_at = destroy.at;
    store.log_change(row.tenant);
    return {};
  }

  Status operator()(const change::CloseTenant& close) const {
    const auto found = store.rows_.tenants.find(close.tenant);
    if (found == store.rows_.tenants.end()) return tenant_not_found(close.tenant);
    if (!std::exchange(found->second.record.destroyed, true)) store.log_change(close.tenant);
    return {};
  }

  Status operator()(const change::Note& note) const {
    if (note.text) {
      store.rows_.notes.insert_or_assign(note.name, *note.text);
    } else {
      store.rows_.notes.erase(note.name);
    }
    return {};
  }

  Status operator()(const change::Fence& fence) const {
    return store.coordination_.holds(fence.lease, fence.number) ? Status{}
                                                                : lease_lost(fence.lease);
  }
};

Status MemoryStore::apply(const Commit& commit) {
  auto before = rows_;
  for (const auto& each : commit) {
    auto done = std::visit(Apply{*this}, each);
    if (done) continue;
    rows_ = std::move(before);
    return done;
  }
  return {};
}

Status MemoryStore::commit(const CallContext&, const Commit& commit) {
  TRY(enter("commit"));
  const std::lock_guard lock(mutex_);
  return apply(commit);
}

std::vector<Status> MemoryStore::commit_each(const CallContext&, std::span<const Commit> commits) {
  if (const auto entered = enter("commit_each"); !entered) return {commits.size(), entered};
  const std::lock_guard lock(mutex_);
  std::vector<Status> outcomes;
  for (const auto& each : commits) outcomes.push_back(apply(each));
  return outcomes;
}

bool MemoryStore::is_open(const KeyRecord& key) const {
  return !key.tenant.is_service() && !rows_.tenants.at(key.tenant).record.destroyed;
}

template <class Wanted, class Place>
std::vector<KeyRecord> MemoryStore::listed(Wanted wanted, Place place, std::size_t limit) const {
  std::vector<const KeyRecord*> found;
  for (const auto& [version, key] : rows_.keys) {
    if (wanted(key)) found.push_back(&key);
  }
  std::ranges::sort(found, {}, [&](const KeyRecord* key) { return place(*key); });
  found.resize(std::min(found.size(), limit));
  std::vector<KeyRecord> keys;
  for (const auto* each : found) {
    keys.push_back(*each);
    keys.back().wrappings.clear();
  }
  return keys;
}

Result<std::vector<KeyRecord>> MemoryStore::keys_created_before(const CallContext&,
                                                                SystemTime before,
                                                                const AgePlace& after,
                                                                std::size_t limit) {
  TRY(enter("keys_created_before"));
  const std::lock_guard lock(mutex_);
  const std::tuple place(after.created_at, std::string_view(after.tenant), to_string(after.type));
  return listed(
      [&](const KeyRecord& key) {
        return key.state == KeyState::active && is_open(key) && key.created_at < before &&
               place_of(key) > place;
      },
      place_of, limit);
}

Result<std::uint64_t> MemoryStore::count_tenants_with_keys_before(const CallContext&,
                                                                  SystemTime before) {
  TRY(enter("count_tenants_with_keys_before"));
  const std::lock_guard lock(mutex_);
  std::set<TenantId> tenants;
  for (const auto& [version, key] : rows_.keys) {
    const bool due = key.state == KeyState::active && is_open(key) && key.created_at < before;
    if (due) tenants.insert(key.tenant);
  }
  return tenants.size();
}

Result<std::vector<Replacement>> MemoryStore::replacements_between(const CallContext&,
                                                                   SystemTime from, SystemTime to,
                                                                   std::size_t limit) {
  TRY(enter("replacements_between"));
  const std::lock_guard lock(mutex_);
  std::vector<Replacement> replaced;
  const auto made_then = [&](const KeyRecord& key) {
    return key.version > 1 && key.created_at >= from && key.created_at < to &&
           rows_.keys.contains({key.tenant, key.type, key.version - 1});
  };
  for (auto& key : listed(made_then, place_of, limit)) {
    const auto predecessor = rows_.keys.at({key.tenant, key.type, key.version - 1}).id;
    replaced.push_back({.predecessor = predecessor, .successor = std::move(key)});
  }
  return replaced;
}

Result<std::vector<KeyRecord>> MemoryStore::retired_seeds(const CallContext&, SystemTime before,
                                                          std::size_t limit) {
  TRY(enter("retired_seeds"));
  const std::lock_guard lock(mutex_);
  return listed(
      [&](const KeyRecord& key) {
        return key.type == KeyType::signing && key.state == KeyState::rotated &&
               !key.secret_destroyed_at && key.state_changed_at && *key.state_changed_at < before;
      },
      [](const KeyRecord& key) { return std::pair(key.state_changed_at, key.tenant); }, limit);
}

Result<std::vector<KeyRecord>> MemoryStore::keys_not_wrapped_by(const CallContext&,
                                                                std::span<const MasterKey> masters,
                                                                const KeyId& after,
                                                                std::size_t limit) {
  TRY(enter("keys_not_wrapped_by"));
  const std::lock_guard lock(mutex_);
  std::vector<KeyRecord> keys;
  for (auto each = rows_.ids.upper_bound(after); each != rows_.ids.end() && keys.size() < limit;
       ++each) {
    const auto& key = rows_.keys.at(each->second);
    if (!key.wrappings.empty() && !are_by(key.wrappings, masters)) keys.push_back(key);
  }
  return keys;
}

Result<std::uint64_t> MemoryStore::count_keys_not_wrapped_by(const CallContext&,
                                                             std::span<const MasterKey> masters) {
  TRY(enter("count_keys_not_wrapped_by"));
  const std::lock_guard lock(mutex_);
  return std::ranges::count_if(rows_.keys, [&](const auto& row) {
    const auto& wrappings = row.second.wrappings;
    return !wrappings.empty() && !are_by(wrappings, masters);
  });
}

Result<std::vector<WrappingCount>> MemoryStore::wrapping_counts(const CallContext&) {
  TRY(enter("wrapping_counts"));
  const std::lock_guard lock(mutex_);
  std::map<std::pair<std::string, std::string>, std::uint64_t> counted;
  for (const auto& [version, key] : rows_.keys) {
    for (const auto& each : key.wrappings) ++counted[{each.provider, each.master_key_id}];
  }
  std::vector<WrappingCount> counts;
  for (const auto& [name, keys] : counted) counts.push_back({name.first, name.second, keys});
  return counts;
}

Result<std::optional<std::string>> MemoryStore::find_note(const CallContext&,
                                                          std::string_view name) {
  TRY(enter("find_note"));
  const std::lock_guard lock(mutex_);
  const auto found = rows_.notes.find(name);
  if (found == rows_.notes.end()) return std::nullopt;
  return found->second;
}

Result<std::vector<std::pair<std::string, std::string>>> MemoryStore::list_notes(
    const CallContext&, std::string_view prefix, std::string_view after, std::size_t limit) {
  TRY(enter("list_notes"));
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<std::string, std::string>> notes;
  for (const auto& [name, text] : rows_.notes) {
    if (name.starts_with(prefix) && name > after && notes.size() < limit) {
      notes.emplace_back(name, text);
    }
  }
  return notes;
}

Result<bool> MemoryStore::scrub(const CallContext&) {
  TRY(enter("scrub"));
  return true;
}

}  // namespace betrace::kms
