#include "stores/memory_store.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/try.h"
#include "stores/records.h"

namespace betrace::kms {

MemoryStore::MemoryStore(LeaseClock lease_clock)
    : coordination_(std::move(lease_clock), [this](std::string_view verb) { return enter(verb); }) {
}

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
  if (const auto found = rows_.tenants.find(tenant.id); found != rows_.tenants.end()) {
    if (found->second.record.destroyed) return tenant_destroyed(tenant.id);
    return tenant_exists(tenant.id);
  }
  for (const auto& key : keys) TRY(check_insertable(key));
  rows_.tenants.emplace(tenant.id, Tenant{.record = tenant, .last_active = {}});
  for (const auto& key : keys) insert(key);
  return {};
}

Result<TenantRecord> MemoryStore::find_tenant(const CallContext&, const TenantId& tenant) {
  TRY(enter("find_tenant"));
  const std::lock_guard lock(mutex_);
  const auto found = rows_.tenants.find(tenant);
  if (found == rows_.tenants.end()) return tenant_not_found(tenant);
  return found->second.record;
}

Result<std::vector<TenantRecord>> MemoryStore::list_tenants(const CallContext&, const Page& page) {
  TRY(enter("list_tenants"));
  const std::lock_guard lock(mutex_);
  std::vector<TenantRecord> listed;
  auto each = rows_.tenants.upper_bound(TenantId::from_store(page.after));
  for (; each != rows_.tenants.end() && listed.size() < page.limit; ++each) {
    listed.push_back(each->second.record);
  }
  return listed;
}

Status MemoryStore::insert_service_key(const CallContext&, const KeyRecord& key) {
  TRY(enter("insert_service_key"));
  TRY(check_service_key(key));
  const std::lock_guard lock(mutex_);
  if (rows_.keys.contains(version_of(key))) return key_exists(key);
  TRY(check_insertable(key));
  insert(key);
  return {};
}

Result<KeyRecord> MemoryStore::find_active_key(const CallContext&, const TenantId& tenant,
                                               KeyType type) {
  TRY(enter("find_active_key"));
  const std::lock_guard lock(mutex_);
  if (!tenant.is_service()) {
    const auto found = rows_.tenants.find(tenant);
    if (found == rows_.tenants.end()) return tenant_not_found(tenant);
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
  if (!tenant.is_service() && !rows_.tenants.contains(tenant)) return tenant_not_found(tenant);
  const auto found = rows_.keys.find({tenant, type, version});
  if (found == rows_.keys.end()) return no_such_version(tenant, type, version);
  return found->second;
}

Result<std::vector<KeyRecord>> MemoryStore::list_keys(const CallContext&, const TenantId& tenant) {
  TRY(enter("list_keys"));
  const std::lock_guard lock(mutex_);
  if (!tenant.is_service() && !rows_.tenants.contains(tenant)) return tenant_not_found(tenant);
  std::vector<KeyRecord> listed;
  for (auto each = rows_.keys.lower_bound({tenant, KeyType::signing, 0});
       each != rows_.keys.end() && each->second.tenant == tenant; ++each) {
    listed.push_back(each->second);
    listed.back().wrappings.clear();
  }
  return listed;
}

Result<Changes> MemoryStore::changes_since(const CallContext&, std::uint64_t generation) {
  TRY(enter("changes_since"));
  const std::lock_guard lock(mutex_);
  const auto oldest = rows_.changes.empty() ? 0 : rows_.newest - rows_.changes.size() + 1;
  if (auto answer = changes_without_list(generation, {.oldest = oldest, .newest = rows_.newest})) {
    return *std::move(answer);
  }
  const auto fresh = static_cast<std::ptrdiff_t>(rows_.newest - generation);
  const std::set<TenantId> tenants(rows_.changes.end() - fresh, rows_.changes.end());
  return Changes{.generation = rows_.newest, .tenants = {tenants.begin(), tenants.end()}};
}

Result<std::uint64_t> MemoryStore::generation(const CallContext&) {
  TRY(enter("generation"));
  const std::lock_guard lock(mutex_);
  return rows_.newest;
}

Status MemoryStore::touch(const CallContext&,
                          std::span<const std::pair<TenantId, SystemTime>> activity) {
  TRY(enter("touch"));
  const std::lock_guard lock(mutex_);
  for (const auto& [tenant, at] : activity) {
    const auto found = rows_.tenants.find(tenant);
    if (found == rows_.tenants.end()) continue;
    auto& last = found->second.last_active;
    last = last ? std::max(*last, at) : at;
  }
  return {};
}

Result<std::vector<TenantId>> MemoryStore::recently_active(const CallContext&, std::size_t limit) {
  TRY(enter("recently_active"));
  const std::lock_guard lock(mutex_);
  std::vector<const Tenant*> seen;
  for (const auto& [id, tenant] : rows_.tenants) {
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
  for (const auto& [id, tenant] : rows_.tenants) counted.tenants += tenant.record.destroyed ? 0 : 1;
  for (const auto& [version, key] : rows_.keys) {
    if (key.state != KeyState::active || key.tenant.is_service()) continue;
    if (rows_.tenants.at(key.tenant).record.destroyed) continue;
    auto& oldest = counted.oldest_active_key;
    oldest = oldest ? std::min(*oldest, key.created_at) : key.created_at;
  }
  return counted;
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
  for (auto each = rows_.keys.lower_bound({tenant, type, 0});
       each != rows_.keys.end() && each->second.tenant == tenant && each->second.type == type;
       ++each) {
    if (each->second.state == KeyState::active) return &each->second;
  }
  return nullptr;
}

KeyRecord* MemoryStore::by_id(const KeyId& id) {
  const auto found = rows_.ids.find(id);
  return found == rows_.ids.end() ? nullptr : &rows_.keys.at(found->second);
}

Status MemoryStore::check_insertable(const KeyRecord& key) {
  const bool second_active =
      key.state == KeyState::active && active(key.tenant, key.type) != nullptr;
  if (!rows_.ids.contains(key.id) && !rows_.keys.contains(version_of(key)) && !second_active)
    return {};
  return fail(ErrorCode::conflict, key_exists(key).error().message);
}

// Wrappings come back by provider and master key, as a table's do.
void MemoryStore::insert(KeyRecord key) {
  std::ranges::sort(key.wrappings, {}, [](const Wrapping& each) {
    return std::tie(each.provider, each.master_key_id);
  });
  const auto version = version_of(key);
  rows_.ids.emplace(key.id, version);
  log_change(key.tenant);
  rows_.keys.emplace(version, std::move(key));
}

void MemoryStore::log_change(const TenantId& tenant) {
  rows_.changes.push_back(tenant);
  ++rows_.newest;
  if (rows_.changes.size() > changes_kept) rows_.changes.pop_front();
}

}  // namespace betrace::kms
