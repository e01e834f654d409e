#include "stores/memory_store.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/try.h"
#include "stores/records.h"

namespace betrace::kms {

void MemoryStore::fail_next(Error error, std::size_t times) {
  const std::lock_guard lock(mutex_);
  faults_.insert(faults_.end(), times, error);
}

void MemoryStore::before_each(std::function<Status(std::string_view verb)> hook) {
  hook_ = std::move(hook);
}

Status MemoryStore::enter(std::string_view verb) {
  if (hook_) TRY(hook_(verb));
  const std::lock_guard lock(mutex_);
  if (faults_.empty()) return {};
  auto error = std::move(faults_.front());
  faults_.pop_front();
  return std::unexpected(std::move(error));
}

std::string MemoryStore::description() const { return "memory, gone when the process ends"; }

Status MemoryStore::create_tenant(const CallContext&, const TenantRecord& tenant,
                                  std::span<const KeyRecord> keys) {
  TRY(enter("create_tenant"));
  TRY(check_new_tenant(tenant, keys));
  const std::lock_guard lock(mutex_);
  if (const auto found = tenants_.find(tenant.id); found != tenants_.end()) {
    if (found->second.record.destroyed) return tenant_destroyed(tenant.id);
    return tenant_exists(tenant.id);
  }
  for (const auto& key : keys) TRY(check_insertable(key));
  tenants_.emplace(tenant.id, Tenant{.record = tenant, .last_active = {}});
  for (const auto& key : keys) insert(key);
  return {};
}

Result<TenantRecord> MemoryStore::find_tenant(const CallContext&, const TenantId& tenant) {
  TRY(enter("find_tenant"));
  const std::lock_guard lock(mutex_);
  const auto found = tenants_.find(tenant);
  if (found == tenants_.end()) return tenant_not_found(tenant);
  return found->second.record;
}

Result<std::vector<TenantRecord>> MemoryStore::list_tenants(const CallContext&, const Page& page) {
  TRY(enter("list_tenants"));
  const std::lock_guard lock(mutex_);
  std::vector<TenantRecord> listed;
  auto each = tenants_.upper_bound(TenantId::from_store(page.after));
  for (; each != tenants_.end() && listed.size() < page.limit; ++each) {
    listed.push_back(each->second.record);
  }
  return listed;
}

Status MemoryStore::insert_service_key(const CallContext&, const KeyRecord& key) {
  TRY(enter("insert_service_key"));
  TRY(check_service_key(key));
  const std::lock_guard lock(mutex_);
  if (keys_.contains(version_of(key))) return key_exists(key);
  TRY(check_insertable(key));
  insert(key);
  return {};
}

Result<KeyRecord> MemoryStore::find_active_key(const CallContext&, const TenantId& tenant,
                                               KeyType type) {
  TRY(enter("find_active_key"));
  const std::lock_guard lock(mutex_);
  if (!tenant.is_service()) {
    const auto found = tenants_.find(tenant);
    if (found == tenants_.end()) return tenant_not_found(tenant);
    if (found->second.record.destroyed) return tenant_destroyed(tenant);
  }
  const auto* key = active(tenant, type);
  if (key == nullptr) return no_active_key(tenant, type);
  return *key;
}

Result<KeyRecord> MemoryStore::find_key(const CallContext&, const TenantId& tenant, KeyType type,
                                        std::uint32_t version) {
  TRY(enter("find_key"));
  const std::lock_guard lock(mutex_);
  if (!tenant.is_service() && !tenants_.contains(tenant)) return tenant_not_found(tenant);
  const auto found = keys_.find({tenant, type, version});
  if (found == keys_.end()) return no_such_version(tenant, type, version);
  return found->second;
}

Result<std::vector<KeyRecord>> MemoryStore::list_keys(const CallContext&, const TenantId& tenant) {
  TRY(enter("list_keys"));
  const std::lock_guard lock(mutex_);
  if (!tenant.is_service() && !tenants_.contains(tenant)) return tenant_not_found(tenant);
  std::vector<KeyRecord> listed;
  for (auto each = keys_.lower_bound({tenant, KeyType::signing, 0});
       each != keys_.end() && each->second.tenant == tenant; ++each) {
    listed.push_back(each->second);
    listed.back().wrappings.clear();
  }
  return listed;
}

Status MemoryStore::rotate(const CallContext&, std::span<const KeyRecord> successors) {
  TRY(enter("rotate"));
  TRY(check_successors(successors));
  const std::lock_guard lock(mutex_);
  for (const auto& key : successors) {
    if (!key.tenant.is_service()) {
      const auto found = tenants_.find(key.tenant);
      if (found == tenants_.end()) return tenant_not_found(key.tenant);
      if (found->second.record.destroyed) return tenant_destroyed(key.tenant);
    }
    const auto* predecessor = active(key.tenant, key.type);
    if (predecessor == nullptr || predecessor->version != key.version - 1) {
      return not_the_active_version(key);
    }
    // Whose place it takes is active still, which is all that may stand in its way.
    if (ids_.contains(key.id) || keys_.contains(version_of(key))) {
      return fail(ErrorCode::conflict, key_exists(key).error().message);
    }
  }
  for (const auto& key : successors) {
    auto* predecessor = active(key.tenant, key.type);
    predecessor->state = KeyState::rotated;
    predecessor->state_changed_at = key.created_at;
    insert(key);
  }
  return {};
}

Status MemoryStore::change_state(const CallContext&, const KeyId& id, KeyState from, KeyState to,
                                 SystemTime at, std::string_view reason) {
  TRY(enter("change_state"));
  const std::lock_guard lock(mutex_);
  auto* key = by_id(id);
  if (key == nullptr) return no_such_key(id);
  if (key->state != from) return not_in_state(id, from, key->state);
  const auto* other = to == KeyState::active ? active(key->tenant, key->type) : nullptr;
  if (other != nullptr && other != key) {
    return fail(ErrorCode::conflict,
                fmt::format("key {} cannot be active: key {} is", id.str(), other->id.str()));
  }
  key->state = to;
  key->state_changed_at = to == KeyState::active ? std::nullopt : std::optional(at);
  key->reason = reason;
  if (to == KeyState::destroyed) key->wrappings.clear();
  log_change(key->tenant);
  return {};
}

Result<Changes> MemoryStore::changes_since(const CallContext&, std::uint64_t generation) {
  TRY(enter("changes_since"));
  const std::lock_guard lock(mutex_);
  const auto oldest = changes_.empty() ? 0 : newest_ - changes_.size() + 1;
  if (auto answer = changes_without_list(generation, {.oldest = oldest, .newest = newest_})) {
    return *std::move(answer);
  }
  const auto fresh = static_cast<std::ptrdiff_t>(newest_ - generation);
  const std::set<TenantId> tenants(changes_.end() - fresh, changes_.end());
  return Changes{.generation = newest_, .tenants = {tenants.begin(), tenants.end()}};
}

Result<std::uint64_t> MemoryStore::generation(const CallContext&) {
  TRY(enter("generation"));
  const std::lock_guard lock(mutex_);
  return newest_;
}

Status MemoryStore::touch(const CallContext&,
                          std::span<const std::pair<TenantId, SystemTime>> activity) {
  TRY(enter("touch"));
  const std::lock_guard lock(mutex_);
  for (const auto& [tenant, at] : activity) {
    const auto found = tenants_.find(tenant);
    if (found == tenants_.end()) continue;
    auto& last = found->second.last_active;
    last = last ? std::max(*last, at) : at;
  }
  return {};
}

Result<std::vector<TenantId>> MemoryStore::recently_active(const CallContext&, std::size_t limit) {
  TRY(enter("recently_active"));
  const std::lock_guard lock(mutex_);
  std::vector<const Tenant*> seen;
  for (const auto& [id, tenant] : tenants_) {
    if (tenant.last_active && !tenant.record.destroyed) seen.push_back(&tenant);
  }
  std::ranges::stable_sort(seen, std::greater(),
                           [](const Tenant* each) { return *each->last_active; });
  seen.resize(std::min(seen.size(), limit));
  std::vector<TenantId> tenants;
  for (const auto* each : seen) tenants.push_back(each->record.id);
  return tenants;
}

Result<std::uint64_t> MemoryStore::reserve(const CallContext&, std::string_view counter,
                                           std::uint64_t count, std::uint64_t limit) {
  TRY(enter("reserve"));
  const std::lock_guard lock(mutex_);
  auto& next = counters_[std::string(counter)];
  const auto after = TRY(advance_counter({.name = counter, .count = count, .limit = limit}, next));
  return std::exchange(next, after);
}

Result<StoreCounts> MemoryStore::counts(const CallContext&) {
  TRY(enter("counts"));
  const std::lock_guard lock(mutex_);
  StoreCounts counted;
  for (const auto& [id, tenant] : tenants_) counted.tenants += tenant.record.destroyed ? 0 : 1;
  for (const auto& [version, key] : keys_) {
    if (key.state != KeyState::active || key.tenant.is_service()) continue;
    if (tenants_.at(key.tenant).record.destroyed) continue;
    auto& oldest = counted.oldest_active_key;
    oldest = oldest ? std::min(*oldest, key.created_at) : key.created_at;
  }
  return counted;
}

Result<bool> MemoryStore::has_wrappings_by(const CallContext&, std::string_view provider) {
  TRY(enter("has_wrappings_by"));
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(keys_, [&](const auto& each) {
    return std::ranges::find(each.second.wrappings, provider, &Wrapping::provider) !=
           each.second.wrappings.end();
  });
}

Status MemoryStore::edit_key(const KeyId& id, const std::function<void(KeyRecord&)>& edit) {
  const std::lock_guard lock(mutex_);
  auto* key = by_id(id);
  if (key == nullptr) return no_such_key(id);
  edit(*key);
  log_change(key->tenant);
  return {};
}

KeyRecord* MemoryStore::active(const TenantId& tenant, KeyType type) {
  for (auto each = keys_.lower_bound({tenant, type, 0});
       each != keys_.end() && each->second.tenant == tenant && each->second.type == type; ++each) {
    if (each->second.state == KeyState::active) return &each->second;
  }
  return nullptr;
}

KeyRecord* MemoryStore::by_id(const KeyId& id) {
  const auto found = ids_.find(id);
  return found == ids_.end() ? nullptr : &keys_.at(found->second);
}

Status MemoryStore::check_insertable(const KeyRecord& key) {
  const bool second_active =
      key.state == KeyState::active && active(key.tenant, key.type) != nullptr;
  if (!ids_.contains(key.id) && !keys_.contains(version_of(key)) && !second_active) return {};
  return fail(ErrorCode::conflict, key_exists(key).error().message);
}

void MemoryStore::insert(const KeyRecord& key) {
  keys_.emplace(version_of(key), key);
  ids_.emplace(key.id, version_of(key));
  log_change(key.tenant);
}

void MemoryStore::log_change(const TenantId& tenant) {
  changes_.push_back(tenant);
  ++newest_;
  if (changes_.size() > changes_kept) changes_.pop_front();
}

}  // namespace betrace::kms
