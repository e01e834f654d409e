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
#include <variant>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/coordination.h"
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

// What commit() is made of. Each says what must be so for it to happen.
namespace change {

// Adds a version. An active one needs its predecessor's Transition in the same commit.
struct AddKey {
  KeyRecord key;
};
struct Transition {
  KeyId key;
  KeyState from = KeyState::active, to = KeyState::rotated;
  SystemTime at;
  std::string reason = {};
};
struct AddWrapping {
  KeyId key;
  Wrapping wrapping;
};
// One wrapping, and never the last one of a key. Overwritten, then deleted.
struct RemoveWrapping {
  KeyId key;
  std::string provider, master_key_id;
};
// All wrappings of a key: nobody opens it again. Overwritten, then deleted.
struct DestroySecret {
  KeyId key;
  SystemTime at;
};
// From now on the tenant is `destroyed`: find_active_key() refuses it, no key is added to it. What
// it has stays as it is until DestroySecret and Transition. Nothing happens when it is closed.
struct CloseTenant {
  TenantId tenant;
};
// A small document under a name, replaced as a whole; no text removes it.
struct Note {
  std::string name;
  std::optional<std::string> text;
};
// The commit happens only while the lease is held under this fencing number.
struct Fence {
  std::string lease;
  std::uint64_t number = 0;
};

}  // namespace change

using Change =
    std::variant<change::AddKey, change::Transition, change::AddWrapping, change::RemoveWrapping,
                 change::DestroySecret, change::CloseTenant, change::Note, change::Fence>;
// Applied in order, all or none.
using Commit = std::vector<Change>;

// A place in a listing by age; the default is the beginning.
struct AgePlace {
  SystemTime created_at = SystemTime::min();
  std::string tenant = {};
  KeyType type = KeyType::signing;
};

// A successor and what it replaced.
struct Replacement {
  KeyId predecessor;
  KeyRecord successor;  // without wrappings
};

struct WrappingCount {
  std::string provider, master_key_id;
  std::uint64_t keys = 0;
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

  // Errors: conflict when a change finds something else than it expects (the key is in another
  // state, the predecessor is not the active version, the lease is lost, the wrapping is the last
  // one); already_exists; tenant_not_found, key_not_found; destroyed when a key is added to a
  // closed tenant; invalid_argument.
  virtual Status commit(const CallContext& call, const Commit& commit) = 0;
  // As many commits, each all or none, made durable together; an outcome for each.
  virtual std::vector<Status> commit_each(const CallContext& call,
                                          std::span<const Commit> commits) = 0;

  // Active keys of open tenants created before `before`, without wrappings, by age, tenant and
  // type, after `after`.
  virtual Result<std::vector<KeyRecord>> keys_created_before(const CallContext& call,
                                                             SystemTime before,
                                                             const AgePlace& after,
                                                             std::size_t limit) = 0;
  // How many tenants have such a key.
  virtual Result<std::uint64_t> count_tenants_with_keys_before(const CallContext& call,
                                                               SystemTime before) = 0;
  // Successors made in [from, to), of either type, destroyed tenants' included; oldest first.
  virtual Result<std::vector<Replacement>> replacements_between(const CallContext& call,
                                                                SystemTime from, SystemTime to,
                                                                std::size_t limit) = 0;
  // Signing keys that were active until before `before`, are rotated, and still have their secret;
  // without wrappings, longest first.
  virtual Result<std::vector<KeyRecord>> retired_seeds(const CallContext& call, SystemTime before,
                                                       std::size_t limit) = 0;
  // Keys, the service's own included, that have wrappings, but not one by each of these master keys
  // and none by others; with their wrappings, by key id, after `after`. `masters`: one or two.
  virtual Result<std::vector<KeyRecord>> keys_not_wrapped_by(const CallContext& call,
                                                             std::span<const MasterKey> masters,
                                                             const KeyId& after,
                                                             std::size_t limit) = 0;
  // How many there are; takes time with the number of keys.
  virtual Result<std::uint64_t> count_keys_not_wrapped_by(const CallContext& call,
                                                          std::span<const MasterKey> masters) = 0;
  // How many wrappings each master key holds, by provider and master key id; at once, however many
  // keys there are.
  virtual Result<std::vector<WrappingCount>> wrapping_counts(const CallContext& call) = 0;

  // Nothing when there is none.
  virtual Result<std::optional<std::string>> find_note(const CallContext& call,
                                                       std::string_view name) = 0;
  // Names that begin with `prefix` and follow `after`, in order, with their texts.
  virtual Result<std::vector<std::pair<std::string, std::string>>> list_notes(
      const CallContext& call, std::string_view prefix, std::string_view after,
      std::size_t limit) = 0;

  // Takes what was deleted out of the store's files. False while a reader still needs it: ask
  // again.
  virtual Result<bool> scrub(const CallContext& call) = 0;

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
  // Of the same store; lives as long as it does.
  virtual Coordination& coordination() = 0;
};

}  // namespace betrace::kms
