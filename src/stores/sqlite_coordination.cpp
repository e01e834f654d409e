#include "stores/sqlite_coordination.h"

#include "base/try.h"
#include "stores/records.h"

namespace betrace::kms {

Result<std::uint64_t> SqliteCoordination::acquire(const CallContext&, std::string_view lease,
                                                  std::string_view node,
                                                  std::chrono::milliseconds ttl) {
  std::uint64_t fence = 1;
  TRY(writer_.run([&](SqliteDb& db) -> Status {
    const auto now = clock_();
    {
      auto row =
          db.query("SELECT node, fence, boot, expires_at FROM leases WHERE name = ?1", lease);
      if (TRY(row.step())) {
        const bool alive = row.text(2) == now.boot && row.integer(3) > now.milliseconds;
        if (alive && row.text(0) != node) return lease_taken(lease, row.text(0));
        fence = static_cast<std::uint64_t>(row.integer(1)) + 1;
      }
    }
    return db
        .query(
            "INSERT INTO leases (name, node, fence, boot, expires_at)"
            " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO UPDATE SET node = excluded.node,"
            " fence = excluded.fence, boot = excluded.boot, expires_at = excluded.expires_at",
            lease, node, static_cast<std::int64_t>(fence), now.boot, now.milliseconds + ttl.count())
        .run();
  }));
  return fence;
}

Status SqliteCoordination::renew(const CallContext&, std::string_view lease, std::uint64_t fence,
                                 std::chrono::milliseconds ttl) {
  return writer_.run([&](SqliteDb& db) -> Status {
    const auto now = clock_();
    TRY(db.query("UPDATE leases SET boot = ?3, expires_at = ?4 WHERE name = ?1 AND fence = ?2"
                 " AND expires_at > 0",
                 lease, static_cast<std::int64_t>(fence), now.boot, now.milliseconds + ttl.count())
            .run());
    return db.rows_changed() == 0 ? lease_lost(lease) : Status{};
  });
}

Status SqliteCoordination::release(const CallContext&, std::string_view lease,
                                   std::uint64_t fence) {
  return writer_.run([&](SqliteDb& db) {
    return db
        .query("UPDATE leases SET expires_at = 0 WHERE name = ?1 AND fence = ?2", lease,
               static_cast<std::int64_t>(fence))
        .run();
  });
}

Result<std::optional<LeaseHolder>> SqliteCoordination::holder(const CallContext&,
                                                              std::string_view lease) {
  const auto now = clock_();
  return readers_.with([&](SqliteDb& db) -> Result<std::optional<LeaseHolder>> {
    auto row =
        db.query("SELECT node, fence FROM leases WHERE name = ?1 AND boot = ?2 AND expires_at > ?3",
                 lease, now.boot, now.milliseconds);
    if (!TRY(row.step())) return std::nullopt;
    return LeaseHolder{.node = std::string(row.text(0)),
                       .fence = static_cast<std::uint64_t>(row.integer(1))};
  });
}

Status SqliteCoordination::beat(const CallContext&, std::string_view node, std::uint64_t generation,
                                std::chrono::milliseconds ttl) {
  return writer_.run([&](SqliteDb& db) -> Status {
    const auto now = clock_();
    TRY(db.query("INSERT INTO nodes (id, generation, boot, expires_at) VALUES (?1, ?2, ?3, ?4)"
                 " ON CONFLICT (id) DO UPDATE SET generation = excluded.generation,"
                 " boot = excluded.boot, expires_at = excluded.expires_at",
                 node, static_cast<std::int64_t>(generation), now.boot,
                 now.milliseconds + ttl.count())
            .run());
    // Those that ended without a word.
    return db
        .query("DELETE FROM nodes WHERE boot <> ?1 OR expires_at < ?2", now.boot, now.milliseconds)
        .run();
  });
}

Status SqliteCoordination::leave(const CallContext&, std::string_view node) {
  return writer_.run(
      [&](SqliteDb& db) { return db.query("DELETE FROM nodes WHERE id = ?1", node).run(); });
}

Result<std::vector<std::string>> SqliteCoordination::nodes_behind(const CallContext&,
                                                                  std::string_view node,
                                                                  std::uint64_t generation) {
  const auto now = clock_();
  return readers_.with([&](SqliteDb& db) -> Result<std::vector<std::string>> {
    std::vector<std::string> behind;
    auto rows = db.query(
        "SELECT id FROM nodes WHERE id <> ?1 AND generation < ?2 AND boot = ?3 AND expires_at > ?4"
        " ORDER BY id",
        node, static_cast<std::int64_t>(generation), now.boot, now.milliseconds);
    while (TRY(rows.step())) behind.emplace_back(rows.text(0));
    return behind;
  });
}

}  // namespace betrace::kms
