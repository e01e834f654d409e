#include "stores/sqlite_write.h"

#include "base/try.h"
#include "stores/records.h"
#include "stores/sqlite_read.h"

namespace betrace::kms::sqlite {
namespace {

Result<bool> has_version(SqliteDb& db, const KeyRecord& key) {
  return db
      .query("SELECT 1 FROM keys WHERE tenant = ?1 AND type = ?2 AND version = ?3",
             key.tenant.str(), to_string(key.type), static_cast<std::int64_t>(key.version))
      .step();
}

}  // namespace

Status insert_key(SqliteDb& db, const KeyRecord& key) {
  const auto succession = key.succession.value_or(Succession{});
  TRY(db.query("INSERT INTO keys (tenant, type, version, id, state, created_at, state_changed_at,"
               " reason, public_key, attestation, succession, succession_by_predecessor,"
               " succession_by_service, secret_destroyed_at)"
               " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, nullif(?11, ''), ?12, ?13, ?14)",
               key.tenant.str(), to_string(key.type), static_cast<std::int64_t>(key.version),
               key.id, to_string(key.state), key.created_at, key.state_changed_at, key.reason,
               key.public_key, key.attestation,
               key.succession ? to_string(succession.kind) : std::string_view(),
               succession.by_predecessor, succession.by_service, key.secret_destroyed_at)
          .run());
  for (const auto& wrapping : key.wrappings) TRY(insert_wrapping(db, key.id, wrapping));
  return {};
}

Status insert_wrapping(SqliteDb& db, const KeyId& key, const Wrapping& wrapping) {
  return db
      .query(
          "INSERT INTO wrappings (key_id, provider, master_key_id, blob) VALUES (?1, ?2, ?3, ?4)",
          key, wrapping.provider, wrapping.master_key_id, wrapping.blob)
      .run();
}

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
