// A store persists tenants, key versions and their wrapped forms; never a secret in the clear.
// Thread-safe. Every call may block on a disk or a network. A call that returns success has been
// made durable.
//
// Errors of every verb: store_unavailable (read-only, full, locked, gone); internal never means
// that something was written.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/key.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

struct TenantRecord {
  TenantId id;
  SystemTime created_at;
  bool destroyed = false;
};

struct Page {
  std::string after;  // exclusive; empty starts at the beginning
  std::size_t limit = 100;
};

struct Changes {
  std::uint64_t generation = 0;   // the newest one that the list covers
  std::vector<TenantId> tenants;  // whose keys changed, each once
  bool everything = false;        // the log no longer reaches back: drop all
};

struct StoreCounts {
  std::uint64_t tenants = 0;
  std::optional<SystemTime> oldest_active_key;  // of tenants; absent while there are none
};

class KeyStore {
 public:
  virtual ~KeyStore() = default;

  // One line for the start-up log, e.g. "SQLite at /var/lib/betrace-kms/betrace-kms.db".
  virtual std::string description() const = 0;

  // The tenant and its first keys, or neither. Errors: already_exists, destroyed.
  virtual Status create_tenant(const CallContext& call, const TenantRecord& tenant,
                               std::span<const KeyRecord> keys) = 0;
  // Errors: tenant_not_found.
  virtual Result<TenantRecord> find_tenant(const CallContext& call, const TenantId& tenant) = 0;
  // Ordered by id; the service itself is not among them.
  virtual Result<std::vector<TenantRecord>> list_tenants(const CallContext& call,
                                                         const Page& page) = 0;

  // A key of the service itself, which belongs to no tenant row. Errors: already_exists when its
  // type and version are there already (another daemon was first: read that one).
  virtual Status insert_service_key(const CallContext& call, const KeyRecord& key) = 0;

  // The active version, with wrappings. Errors: tenant_not_found, destroyed, key_not_found.
  virtual Result<KeyRecord> find_active_key(const CallContext& call, const TenantId& tenant,
                                            KeyType type) = 0;
  // One version, with wrappings. Errors: tenant_not_found, key_not_found.
  virtual Result<KeyRecord> find_key(const CallContext& call, const TenantId& tenant, KeyType type,
                                     std::uint32_t version) = 0;
  // All versions of both types, by type and version, without wrappings. Errors: tenant_not_found.
  virtual Result<std::vector<KeyRecord>> list_keys(const CallContext& call,
                                                   const TenantId& tenant) = 0;

  // Adds each successor as the active version and marks its predecessor (version - 1) rotated, all
  // or none. Errors: conflict when a predecessor is no longer the active version.
  virtual Status rotate(const CallContext& call, std::span<const KeyRecord> successors) = 0;
  // Errors: key_not_found; conflict when the key is not in state `from`.
  virtual Status change_state(const CallContext& call, const KeyId& key, KeyState from, KeyState to,
                              SystemTime at, std::string_view reason) = 0;

  // What was changed since `generation` by other daemons and people with a SQL shell; by this store
  // as well, unless it was opened to leave that out.
  virtual Result<Changes> changes_since(const CallContext& call, std::uint64_t generation) = 0;
  virtual Result<std::uint64_t> generation(const CallContext& call) = 0;

  // Records when tenants were last active; a tenant that is gone is skipped.
  virtual Status touch(const CallContext& call,
                       std::span<const std::pair<TenantId, SystemTime>> activity) = 0;
  // Most recently active first.
  virtual Result<std::vector<TenantId>> recently_active(const CallContext& call,
                                                        std::size_t limit) = 0;

  // Takes the next `count` values of a durable counter for this daemon alone and answers the first.
  // Errors: conflict when fewer than `count` are left below `limit`.
  virtual Result<std::uint64_t> reserve(const CallContext& call, std::string_view counter,
                                        std::uint64_t count, std::uint64_t limit) = 0;

  virtual Result<StoreCounts> counts(const CallContext& call) = 0;
  // Whether any key has a wrapping by `provider`.
  virtual Result<bool> has_wrappings_by(const CallContext& call, std::string_view provider) = 0;
};

}  // namespace betrace::kms
