#include "stores/sqlite_write.h"

#include "base/try.h"
#include "stores/records.h"
#include "stores/sqlite_read.h"

namespace betrace::kms::sqlite {
namespace {

Status insert_key(SqliteDb& db, const KeyRecord& key) {
  TRY(db.query("INSERT INTO keys (tenant, type, version, id, state, created_at, state_changed_at,"
               " reason, public_key, attestation)"
               " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
               key.tenant.str(), to_string(key.type), static_cast<std::int64_t>(key.version),
               key.id, to_string(key.state), key.created_at, key.state_changed_at, key.reason,
               key.public_key, key.attestation)
          .run());
  for (const auto& wrapping : key.wrappings) {
    TRY(db.query("INSERT INTO wrappings (key_id, provider, master_key_id, blob)"
                 " VALUES (?1, ?2, ?3, ?4)",
                 key.id, wrapping.provider, wrapping.master_key_id, wrapping.blob)
            .run());
  }
  return {};
}

Result<bool> has_version(SqliteDb& db, const KeyRecord& key) {
  return db
      .query("SELECT 1 FROM keys WHERE tenant = ?1 AND type = ?2 AND version = ?3",
             key.tenant.str(), to_string(key.type), static_cast<std::int64_t>(key.version))
      .step();
}

}  // namespace

Status create_tenant(SqliteDb& db, const TenantRecord& tenant, std::span<const KeyRecord> keys) {
  if (const auto existing = find_tenant(db, tenant.id)) {
    if (existing->destroyed) return tenant_destroyed(tenant.id);
    return tenant_exists(tenant.id);
  } else if (existing.error().code != ErrorCode::tenant_not_found) {
    return std::unexpected(existing.error());
  }
  TRY(db.query("INSERT INTO tenants (id, created_at, destroyed) VALUES (?1, ?2, ?3)",
               tenant.id.str(), tenant.created_at, std::int64_t{tenant.destroyed})
          .run());
  for (const auto& key : keys) TRY(insert_key(db, key));
  return {};
}

Status insert_service_key(SqliteDb& db, const KeyRecord& key) {
  if (TRY(has_version(db, key))) return key_exists(key);
  return insert_key(db, key);
}

Status rotate(SqliteDb& db, std::span<const KeyRecord> successors) {
  for (const auto& key : successors) {
    if (!key.tenant.is_service() && TRY(find_tenant(db, key.tenant)).destroyed) {
      return tenant_destroyed(key.tenant);
    }
    TRY(db.query("UPDATE keys SET state = 'rotated', state_changed_at = ?4"
                 " WHERE tenant = ?1 AND type = ?2 AND version = ?3 AND state = 'active'",
                 key.tenant.str(), to_string(key.type), static_cast<std::int64_t>(key.version) - 1,
                 key.created_at)
            .run());
    if (db.rows_changed() == 0) return not_the_active_version(key);
    TRY(insert_key(db, key));
  }
  return {};
}

Status change_state(SqliteDb& db, const StateChange& change) {
  const auto changed_at = change.to == KeyState::active ? std::nullopt : std::optional(change.at);
  TRY(db.query("UPDATE keys SET state = ?2, state_changed_at = ?3, reason = ?4"
               " WHERE id = ?1 AND state = ?5",
               change.key, to_string(change.to), changed_at, change.reason, to_string(change.from))
          .run());
  if (db.rows_changed() == 0) {
    auto row = db.query("SELECT state FROM keys WHERE id = ?1", change.key);
    if (!TRY(row.step())) return no_such_key(change.key);
    return not_in_state(change.key, change.from, TRY(parse_key_state(row.text(0))));
  }
  if (change.to != KeyState::destroyed) return {};
  return db.query("DELETE FROM wrappings WHERE key_id = ?1", change.key).run();
}

Status touch(SqliteDb& db, std::span<const std::pair<TenantId, SystemTime>> activity) {
  for (const auto& [tenant, at] : activity) {
    TRY(db.query("UPDATE tenants SET last_active = ?2"
                 " WHERE id = ?1 AND (last_active IS NULL OR last_active < ?2)",
                 tenant.str(), at)
            .run());
  }
  return {};
}

Result<std::uint64_t> reserve(SqliteDb& db, std::string_view counter, std::uint64_t count,
                              std::uint64_t limit) {
  std::uint64_t first = 0;
  {
    auto row = db.query("SELECT value FROM counters WHERE name = ?1", counter);
    if (TRY(row.step())) first = static_cast<std::uint64_t>(row.integer(0));
  }
  const auto next = TRY(advance_counter({.name = counter, .count = count, .limit = limit}, first));
  TRY(db.query("INSERT INTO counters (name, value) VALUES (?1, ?2)"
               " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
               counter, static_cast<std::int64_t>(next))
          .run());
  return first;
}

}  // namespace betrace::kms::sqlite
