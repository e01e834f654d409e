#include "stores/migrations.h"

#include <fmt/format.h>

#include "base/try.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr Migration all_migrations[] = {
#include "sqlite_migrations.inc"
};

Result<std::int64_t> number(SqliteDb& db, const char* sql) {
  auto query = db.query(sql);
  if (!TRY(query.step())) return fail(ErrorCode::internal, fmt::format("no row: {}", sql));
  return query.integer(0);
}

Status check_ours(SqliteDb& db, std::int64_t version, std::size_t known) {
  if (version > static_cast<std::int64_t>(known)) {
    return fail(ErrorCode::store_unavailable,
                fmt::format("the store {} has schema version {}, and this betrace-kms knows "
                            "versions up to {}: a newer release wrote it. Run that release, or "
                            "restore a backup from before the upgrade",
                            db.path(), version, known));
  }
  // In this order: another daemon that makes the store meanwhile sets both at once, so that an id
  // read later is at least as new as the tables.
  const auto objects = TRY(number(db, "SELECT count(*) FROM sqlite_schema"));
  const auto id = TRY(number(db, "PRAGMA application_id"));
  if (objects != 0 && id != sqlite_application_id) {
    return fail(ErrorCode::store_unavailable,
                fmt::format("the store {} is a SQLite database of another program. Check the path "
                            "(betrace.kms.store.url)",
                            db.path()));
  }
  return {};
}

// True when `step` was run, false when another daemon had run it meanwhile.
Result<bool> run_step(SqliteDb& db, const Migration& step) {
  TRY(db.execute("BEGIN IMMEDIATE"));
  const auto version = number(db, "PRAGMA user_version");
  if (!version || *version >= step.version) {
    TRY(db.execute("ROLLBACK"));
    return version.has_value() ? Result<bool>(false) : std::unexpected(version.error());
  }
  const auto mark = fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}; COMMIT",
                                sqlite_application_id, step.version);
  auto done = db.execute(step.sql);
  if (done) done = db.execute(mark.c_str());
  if (done) return true;
  if (db.in_transaction()) (void)db.execute("ROLLBACK");
  return std::unexpected(done.error());
}

}  // namespace

std::span<const Migration> migrations() { return all_migrations; }

Status check_ours(SqliteDb& db) {
  const auto version = TRY(number(db, "PRAGMA user_version"));
  TRY(check_ours(db, version, migrations().size()));
  if (version > 0) return {};
  return fail(ErrorCode::store_unavailable, fmt::format("{} is an empty database", db.path()));
}

Result<bool> has_newest_schema(SqliteDb& db) {
  return TRY(number(db, "PRAGMA user_version")) == static_cast<std::int64_t>(migrations().size());
}

Status migrate(SqliteDb& db, std::span<const Migration> steps) {
  const auto version = TRY(number(db, "PRAGMA user_version"));
  TRY(check_ours(db, version, steps.size()));
  if (version > 0 && version < std::ssize(steps)) {
    logger(log_category::kms)
        .info("The store {} is brought from schema version {} to {}", db.path(), version,
              steps.size());
  }
  for (const auto& step : steps) {
    if (step.version > version) TRY(run_step(db, step));
  }
  return {};
}

}  // namespace betrace::kms
