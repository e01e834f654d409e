#include "stores/records.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/try.h"

namespace betrace::kms {
namespace {

// What SQL integers hold.
constexpr auto counter_max = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());

Status check_distinct_wrappings(const KeyRecord& key) {
  std::set<std::pair<std::string_view, std::string_view>> seen;
  for (const auto& wrapping : key.wrappings) {
    if (seen.emplace(wrapping.provider, wrapping.master_key_id).second) continue;
    return fail(ErrorCode::invalid_argument,
                fmt::format("key {} has two wrappings by {} under {}", key.id.str(),
                            wrapping.provider, wrapping.master_key_id));
  }
  return {};
}

Status check_distinct(std::span<const KeyRecord> keys) {
  for (const auto& key : keys) TRY(check_distinct_wrappings(key));
  for (std::size_t i = 0; i < keys.size(); ++i) {
    for (std::size_t j = i + 1; j < keys.size(); ++j) {
      const auto &a = keys[i], &b = keys[j];
      const bool same_type = a.tenant == b.tenant && a.type == b.type;
      const bool both_active = a.state == KeyState::active && b.state == KeyState::active;
      if (a.id == b.id || (same_type && (a.version == b.version || both_active))) {
        return fail(ErrorCode::invalid_argument,
                    fmt::format("two keys of tenant '{}' have one id, one version, or are both "
                                "active: {} key, versions {} and {}",
                                a.tenant.str(), to_string(a.type), a.version, b.version));
      }
    }
  }
  return {};
}

}  // namespace

Status check_new_tenant(const TenantRecord& tenant, std::span<const KeyRecord> keys) {
  if (tenant.id.is_service()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("'{}' is the service itself, not a tenant", tenant.id.str()));
  }
  const auto foreign =
      std::ranges::find_if(keys, [&](const auto& key) { return key.tenant != tenant.id; });
  if (foreign != keys.end()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("a key of tenant '{}' cannot be stored with tenant '{}'",
                            foreign->tenant.str(), tenant.id.str()));
  }
  return check_distinct(keys);
}

Status check_service_key(const KeyRecord& key) {
  if (key.tenant.is_service()) return check_distinct_wrappings(key);
  return fail(ErrorCode::invalid_argument,
              fmt::format("a key of tenant '{}' is no key of the service", key.tenant.str()));
}

Status check_added_key(const KeyRecord& key) {
  TRY(check_distinct_wrappings(key));
  const bool follows = key.type == KeyType::signing && key.version > 1;
  if (follows == key.succession.has_value()) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("{} key {} of version {} {} a succession", to_string(key.type),
                          key.id.str(), key.version, follows ? "needs" : "cannot have"));
}

std::unexpected<Error> tenant_not_found(const TenantId& tenant) {
  return fail(ErrorCode::tenant_not_found, fmt::format("tenant '{}' does not exist", tenant.str()));
}

std::unexpected<Error> tenant_exists(const TenantId& tenant) {
  return fail(ErrorCode::already_exists, fmt::format("tenant '{}' exists already", tenant.str()));
}

std::unexpected<Error> tenant_destroyed(const TenantId& tenant) {
  return fail(ErrorCode::destroyed,
              fmt::format("tenant '{}' was destroyed; its name is not used again", tenant.str()));
}

std::unexpected<Error> no_active_key(const TenantId& tenant, KeyType type) {
  return fail(ErrorCode::key_not_found,
              fmt::format("tenant '{}' has no active {} key", tenant.str(), to_string(type)));
}

std::unexpected<Error> no_such_version(const TenantId& tenant, KeyType type,
                                       std::uint32_t version) {
  return fail(ErrorCode::key_not_found, fmt::format("tenant '{}' has no {} key of version {}",
                                                    tenant.str(), to_string(type), version));
}

std::unexpected<Error> no_such_key(const KeyId& id) {
  return fail(ErrorCode::key_not_found, fmt::format("key {} does not exist", id.str()));
}

std::unexpected<Error> key_exists(const KeyRecord& key) {
  return fail(ErrorCode::already_exists,
              fmt::format("the {} key of '{}' of version {} exists already", to_string(key.type),
                          key.tenant.str(), key.version));
}

std::unexpected<Error> not_the_active_version(const KeyRecord& successor) {
  return fail(
      ErrorCode::conflict,
      fmt::format("version {} of the {} key of tenant '{}' is not the active one: another "
                  "rotation was first",
                  successor.version - 1, to_string(successor.type), successor.tenant.str()));
}

std::unexpected<Error> never_active_again(const KeyId& id) {
  return fail(ErrorCode::invalid_argument,
              fmt::format("key {} cannot become active: only a new version is", id.str()));
}

std::unexpected<Error> wrapping_exists(const KeyId& id, const Wrapping& wrapping) {
  return fail(ErrorCode::already_exists,
              fmt::format("key {} has a wrapping by {} under {} already", id.str(),
                          wrapping.provider, wrapping.master_key_id));
}

std::unexpected<Error> last_wrapping(const KeyId& id) {
  return fail(
      ErrorCode::conflict,
      fmt::format("key {} has no other wrapping: removing this one would lose it", id.str()));
}

std::unexpected<Error> secret_is_gone(const KeyId& id) {
  return fail(ErrorCode::conflict, fmt::format("the secret of key {} was destroyed", id.str()));
}

std::unexpected<Error> lease_taken(std::string_view lease, std::string_view node) {
  return fail(ErrorCode::conflict, fmt::format("the lease '{}' is held by {}", lease, node));
}

std::unexpected<Error> lease_lost(std::string_view lease) {
  return fail(ErrorCode::conflict,
              fmt::format("the lease '{}' was lost: it ran out or another daemon took it", lease));
}

std::unexpected<Error> not_in_state(const KeyId& id, KeyState expected, KeyState actual) {
  return fail(ErrorCode::conflict, fmt::format("key {} is {}, not {}", id.str(), to_string(actual),
                                               to_string(expected)));
}

Result<std::uint64_t> advance_counter(const CounterRequest& request, std::uint64_t next) {
  const auto limit = std::min(request.limit, counter_max);
  if (next <= limit && request.count <= limit - next) return next + request.count;
  return fail(ErrorCode::conflict,
              fmt::format("counter '{}' is at {}: {} more would pass its limit of {}", request.name,
                          next, request.count, request.limit));
}

std::optional<Changes> changes_without_list(std::uint64_t generation, const ChangeLogBounds& log) {
  if (generation == log.newest) return Changes{.generation = log.newest, .tenants = {}};
  const bool from_elsewhere = generation > log.newest;
  const bool forgotten = generation + 1 < log.oldest;
  const bool too_many = log.newest - generation > changes_listed_max;
  if (!from_elsewhere && !forgotten && !too_many) return std::nullopt;
  return Changes{.generation = log.newest, .tenants = {}, .everything = true};
}

}  // namespace betrace::kms
