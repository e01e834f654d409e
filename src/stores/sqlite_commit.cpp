#include "stores/sqlite_commit.h"

#include "base/try.h"
#include "stores/records.h"
#include "stores/sqlite_read.h"
#include "stores/sqlite_write.h"

namespace betrace::kms::sqlite {
namespace {

Result<KeyState> state_of(SqliteDb& db, const KeyId& key) {
  auto row = db.query("SELECT state FROM keys WHERE id = ?1", key);
  if (!TRY(row.step())) return no_such_key(key);
  return parse_key_state(row.text(0));
}

Result<bool> has_active(SqliteDb& db, const KeyRecord& key) {
  return db
      .query("SELECT 1 FROM keys WHERE tenant = ?1 AND type = ?2 AND state = 'active'",
             key.tenant.str(), to_string(key.type))
      .step();
}

// Overwritten first: the deleted cell is zeroed by secure_delete, the log holds the older pages.
Status overwrite_and_delete(SqliteDb& db, const KeyId& key, std::string_view provider,
                            std::string_view master_key_id) {
  TRY(db.query("UPDATE wrappings SET blob = zeroblob(length(blob))"
               " WHERE key_id = ?1 AND provider = ?2 AND master_key_id = ?3",
               key, provider, master_key_id)
          .run());
  return db
      .query("DELETE FROM wrappings WHERE key_id = ?1 AND provider = ?2 AND master_key_id = ?3",
             key, provider, master_key_id)
      .run();
}

struct Apply {
  SqliteDb& db;
  const LeaseTime& now;

  Status operator()(const change::AddKey& add) {
    const auto& key = add.key;
    TRY(check_added_key(key));
    if (!key.tenant.is_service() && TRY(find_tenant(db, key.tenant)).destroyed) {
      return tenant_destroyed(key.tenant);
    }
    if (key.state == KeyState::active && TRY(has_active(db, key))) {
      return not_the_active_version(key);
    }
    {
      auto row = db.query(
          "SELECT 1 FROM keys WHERE id = ?1"
          " UNION ALL SELECT 1 FROM keys WHERE tenant = ?2 AND type = ?3 AND version >= ?4",
          key.id, key.tenant.str(), to_string(key.type), static_cast<std::int64_t>(key.version));
      if (TRY(row.step())) return key_exists(key);
    }
    return insert_key(db, key);
  }

  Status operator()(const change::Transition& step) {
    const auto state = TRY(state_of(db, step.key));
    if (state != step.from) return not_in_state(step.key, step.from, state);
    if (step.to == KeyState::active) return never_active_again(step.key);
    return db
        .query("UPDATE keys SET state = ?2, state_changed_at = ?3, reason = ?4 WHERE id = ?1",
               step.key, to_string(step.to), step.at, step.reason)
        .run();
  }

  Status operator()(const change::AddWrapping& add) {
    TRY(state_of(db, add.key));
    {
      auto row = db.query(
          "SELECT 1 FROM wrappings WHERE key_id = ?1 AND provider = ?2 AND master_key_id = ?3",
          add.key, add.wrapping.provider, add.wrapping.master_key_id);
      if (TRY(row.step())) return wrapping_exists(add.key, add.wrapping);
    }
    {
      auto row = db.query("SELECT 1 FROM wrappings WHERE key_id = ?1", add.key);
      if (!TRY(row.step())) return secret_is_gone(add.key);
    }
    return insert_wrapping(db, add.key, add.wrapping);
  }

  Status operator()(const change::RemoveWrapping& remove) {
    TRY(state_of(db, remove.key));
    {
      auto row = db.query(
          "SELECT 1 FROM wrappings WHERE key_id = ?1 AND NOT (provider = ?2 AND master_key_id = "
          "?3)",
          remove.key, remove.provider, remove.master_key_id);
      if (!TRY(row.step())) return last_wrapping(remove.key);
    }
    return overwrite_and_delete(db, remove.key, remove.provider, remove.master_key_id);
  }

  Status operator()(const change::DestroySecret& destroy) {
    TRY(state_of(db, destroy.key));
    TRY(db.query("UPDATE wrappings SET blob = zeroblob(length(blob)) WHERE key_id = ?1",
                 destroy.key)
            .run());
    TRY(db.query("DELETE FROM wrappings WHERE key_id = ?1", destroy.key).run());
    return db
        .query(
            "UPDATE keys SET secret_destroyed_at = coalesce(secret_destroyed_at, ?2)"
            " WHERE id = ?1",
            destroy.key, destroy.at)
        .run();
  }

  Status operator()(const change::CloseTenant& close) {
    if (TRY(find_tenant(db, close.tenant)).destroyed) return {};
    return db.query("UPDATE tenants SET destroyed = 1 WHERE id = ?1", close.tenant.str()).run();
  }

  Status operator()(const change::Note& note) {
    if (!note.text) return db.query("DELETE FROM notes WHERE name = ?1", note.name).run();
    return db
        .query(
            "INSERT INTO notes (name, text) VALUES (?1, ?2)"
            " ON CONFLICT (name) DO UPDATE SET text = excluded.text",
            note.name, *note.text)
        .run();
  }

  Status operator()(const change::Fence& fence) {
    auto row = db.query("SELECT fence, boot, expires_at FROM leases WHERE name = ?1", fence.lease);
    const bool held = TRY(row.step()) &&
                      static_cast<std::uint64_t>(row.integer(0)) == fence.number &&
                      row.text(1) == now.boot && row.integer(2) > now.milliseconds;
    return held ? Status{} : lease_lost(fence.lease);
  }
};

}  // namespace

Status apply(SqliteDb& db, const Commit& commit, const LeaseTime& now) {
  for (const auto& each : commit) TRY(std::visit(Apply{db, now}, each));
  return {};
}

}  // namespace betrace::kms::sqlite
