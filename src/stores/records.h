// What every store checks before it writes, and the words in which every store refuses: the same
// for all of them, so that callers and their users see one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "betrace/kms/key_store.h"

namespace betrace::kms {

// Keys belong to `tenant`, no two have one id or one type and version, at most one of a type is
// active. Errors: invalid_argument.
Status check_new_tenant(const TenantRecord& tenant, std::span<const KeyRecord> keys);
Status check_service_key(const KeyRecord& key);
// A signing key that follows another says how. Errors: invalid_argument.
Status check_added_key(const KeyRecord& key);

std::unexpected<Error> tenant_not_found(const TenantId& tenant);
std::unexpected<Error> tenant_exists(const TenantId& tenant);
std::unexpected<Error> tenant_destroyed(const TenantId& tenant);
std::unexpected<Error> no_active_key(const TenantId& tenant, KeyType type);
std::unexpected<Error> no_such_version(const TenantId& tenant, KeyType type, std::uint32_t version);
std::unexpected<Error> no_such_key(const KeyId& id);
std::unexpected<Error> key_exists(const KeyRecord& key);
std::unexpected<Error> not_the_active_version(const KeyRecord& successor);
std::unexpected<Error> never_active_again(const KeyId& id);
std::unexpected<Error> wrapping_exists(const KeyId& id, const Wrapping& wrapping);
std::unexpected<Error> last_wrapping(const KeyId& id);
std::unexpected<Error> secret_is_gone(const KeyId& id);
std::unexpected<Error> lease_taken(std::string_view lease, std::string_view node);
std::unexpected<Error> lease_lost(std::string_view lease);
std::unexpected<Error> not_in_state(const KeyId& id, KeyState expected, KeyState actual);

struct CounterRequest {
  std::string_view name;
  std::uint64_t count = 0, limit = 0;
};
// The value after the request. Errors: conflict when the limit does not allow it.
Result<std::uint64_t> advance_counter(const CounterRequest& request, std::uint64_t next);

// How far the change log reaches back, and how many changes are worth listing one by one.
inline constexpr std::uint64_t changes_kept = 131072;
inline constexpr std::uint64_t changes_listed_max = 65536;
struct ChangeLogBounds {
  std::uint64_t oldest = 0, newest = 0;  // generations; 0 and 0 when empty
};
// Nothing when the changes since `generation` must be listed, else the answer.
std::optional<Changes> changes_without_list(std::uint64_t generation, const ChangeLogBounds& log);

}  // namespace betrace::kms
