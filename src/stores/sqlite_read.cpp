#include "stores/sqlite_read.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string>

#include <fmt/format.h>

#include "base/try.h"
#include "stores/records.h"

#define KEY_COLUMNS                                                                              \
  "k.id, k.type, k.version, k.state, k.created_at, k.state_changed_at, k.reason, k.public_key, " \
  "k.attestation, k.succession, k.succession_by_predecessor, k.succession_by_service, "          \
  "k.secret_destroyed_at"

namespace betrace::kms::sqlite {
namespace {

// Columns of KEY_COLUMNS, then those of a wrapping.
enum Column : int {
  column_id,
  column_type,
  column_version,
  column_state,
  column_created_at,
  column_state_changed_at,
  column_reason,
  column_public_key,
  column_attestation,
  column_succession,
  column_by_predecessor,
  column_by_service,
  column_secret_destroyed_at,
  column_provider,
  column_master_key_id,
  column_blob,
  column_tenant_destroyed,
};

std::unexpected<Error> damaged(const TenantId& tenant, std::string_view what) {
  return fail(
      ErrorCode::corrupt,
      fmt::format("a row of '{}' in table keys of the store is damaged: {}", tenant.str(), what));
}

Bytes copy(std::span<const std::uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

Result<std::optional<Succession>> read_succession(const Query& row) {
  if (row.is_null(column_succession)) return std::nullopt;
  return Succession{.kind = TRY(parse_succession_kind(row.text(column_succession))),
                    .by_predecessor = copy(row.blob(column_by_predecessor)),
                    .by_service = copy(row.blob(column_by_service))};
}

Result<KeyRecord> read_key(const Query& row, const TenantId& tenant) {
  std::array<std::uint8_t, 16> id{};
  const auto id_bytes = row.blob(column_id);
  if (id_bytes.size() != id.size()) return damaged(tenant, "id is not 16 bytes");
  std::ranges::copy(id_bytes, id.begin());

  const auto type = parse_key_type(row.text(column_type));
  const auto state = parse_key_state(row.text(column_state));
  auto succession = read_succession(row);
  const auto version = row.integer(column_version);
  if (!type) return damaged(tenant, type.error().message);
  if (!state) return damaged(tenant, state.error().message);
  if (!succession) return damaged(tenant, succession.error().message);
  if (version < 1 || version > std::numeric_limits<std::uint32_t>::max()) {
    return damaged(tenant, fmt::format("version is {}", version));
  }
  return KeyRecord{.id = KeyId(id),
                   .tenant = tenant,
                   .type = *type,
                   .version = static_cast<std::uint32_t>(version),
                   .state = *state,
                   .created_at = row.time(column_created_at),
                   .state_changed_at = row.maybe_time(column_state_changed_at),
                   .reason = std::string(row.text(column_reason)),
                   .public_key = copy(row.blob(column_public_key)),
                   .attestation = copy(row.blob(column_attestation)),
                   .succession = *std::move(succession),
                   .secret_destroyed_at = row.maybe_time(column_secret_destroyed_at),
                   .wrappings = {}};
}

// One key, whose wrappings are the rows from the current one on.
Result<KeyRecord> read_key_with_wrappings(Query& rows, const TenantId& tenant) {
  auto key = TRY(read_key(rows, tenant));
  do {
    if (rows.is_null(column_provider)) break;
    key.wrappings.push_back({.provider = std::string(rows.text(column_provider)),
                             .master_key_id = std::string(rows.text(column_master_key_id)),
                             .blob = copy(rows.blob(column_blob))});
  } while (TRY(rows.step()));
  return key;
}

TenantRecord read_tenant(const Query& row) {
  return {.id = TenantId::from_store(std::string(row.text(0))),
          .created_at = row.time(1),
          .destroyed = row.integer(2) != 0};
}

std::int64_t sql_limit(std::size_t limit) {
  return static_cast<std::int64_t>(std::min<std::size_t>(limit, 1'000'000));
}

// Asked when a key was not found, and so off the path that must be fast.
enum class Destroyed : std::uint8_t { allowed, refused };
Status check_tenant(SqliteDb& db, const TenantId& tenant, Destroyed destroyed) {
  if (tenant.is_service()) return {};
  const auto record = TRY(find_tenant(db, tenant));
  if (record.destroyed && destroyed == Destroyed::refused) return tenant_destroyed(tenant);
  return {};
}

Result<ChangeLogBounds> change_log_bounds(SqliteDb& db) {
  auto row = db.query(
      "SELECT (SELECT min(generation) FROM changes), (SELECT max(generation) FROM changes)");
  TRY(row.step());
  return ChangeLogBounds{.oldest = static_cast<std::uint64_t>(row.integer(0)),
                         .newest = static_cast<std::uint64_t>(row.integer(1))};
}

}  // namespace

Result<TenantRecord> find_tenant(SqliteDb& db, const TenantId& tenant) {
  auto row = db.query("SELECT id, created_at, destroyed FROM tenants WHERE id = ?1", tenant.str());
  if (!TRY(row.step())) return tenant_not_found(tenant);
  return read_tenant(row);
}

Result<std::vector<TenantRecord>> list_tenants(SqliteDb& db, const Page& page) {
  std::vector<TenantRecord> tenants;
  auto rows =
      db.query("SELECT id, created_at, destroyed FROM tenants WHERE id > ?1 ORDER BY id LIMIT ?2",
               page.after, sql_limit(page.limit));
  while (TRY(rows.step())) tenants.push_back(read_tenant(rows));
  return tenants;
}

// The unary plus keeps SQLite from the index of active keys, which would be one tree more to go
// down: the versions of one key lie side by side, the newest first in this order.
Result<KeyRecord> find_active_key(SqliteDb& db, const TenantId& tenant, KeyType type) {
  auto rows = db.query("SELECT " KEY_COLUMNS
                       ", w.provider, w.master_key_id, w.blob, k.tenant_destroyed"
                       " FROM keys k LEFT JOIN wrappings w ON w.key_id = k.id"
                       " WHERE k.tenant = ?1 AND k.type = ?2 AND +k.state = 'active'"
                       " ORDER BY k.version DESC",
                       tenant.str(), to_string(type));
  if (TRY(rows.step())) {
    if (rows.integer(column_tenant_destroyed) != 0) return tenant_destroyed(tenant);
    return read_key_with_wrappings(rows, tenant);
  }
  TRY(check_tenant(db, tenant, Destroyed::refused));
  return no_active_key(tenant, type);
}

Result<KeyRecord> find_key(SqliteDb& db, const TenantId& tenant, KeyType type,
                           std::uint32_t version) {
  auto rows = db.query("SELECT " KEY_COLUMNS
                       ", w.provider, w.master_key_id, w.blob"
                       " FROM keys k LEFT JOIN wrappings w ON w.key_id = k.id"
                       " WHERE k.tenant = ?1 AND k.type = ?2 AND k.version = ?3",
                       tenant.str(), to_string(type), static_cast<std::int64_t>(version));
  if (TRY(rows.step())) return read_key_with_wrappings(rows, tenant);
  TRY(check_tenant(db, tenant, Destroyed::allowed));
  return no_such_version(tenant, type, version);
}

Result<std::vector<KeyRecord>> list_keys(SqliteDb& db, const TenantId& tenant) {
  std::vector<KeyRecord> keys;
  auto rows = db.query("SELECT " KEY_COLUMNS
                       " FROM keys k WHERE k.tenant = ?1 ORDER BY k.type DESC, k.version",
                       tenant.str());
  while (TRY(rows.step())) keys.push_back(TRY(read_key(rows, tenant)));
  if (keys.empty()) TRY(check_tenant(db, tenant, Destroyed::allowed));
  return keys;
}

Result<Changes> changes_since(SqliteDb& db, std::uint64_t generation, const OwnWrites* own) {
  const auto log = TRY(change_log_bounds(db));
  if (auto answer = changes_without_list(generation, log)) return *std::move(answer);
  Changes changes{.generation = log.newest, .tenants = {}};
  auto rows =
      db.query("SELECT generation, tenant FROM changes WHERE generation > ?1 AND generation <= ?2",
               static_cast<std::int64_t>(generation), static_cast<std::int64_t>(log.newest));
  std::set<std::string, std::less<>> tenants;
  while (TRY(rows.step())) {
    if (own != nullptr && own->contains(static_cast<std::uint64_t>(rows.integer(0)))) continue;
    tenants.emplace(rows.text(1));
  }
  for (const auto& tenant : tenants) changes.tenants.push_back(TenantId::from_store(tenant));
  return changes;
}

Result<std::uint64_t> generation(SqliteDb& db) { return TRY(change_log_bounds(db)).newest; }

Result<std::vector<TenantId>> recently_active(SqliteDb& db, std::size_t limit) {
  std::vector<TenantId> tenants;
  auto rows = db.query(
      "SELECT id FROM tenants WHERE last_active IS NOT NULL AND destroyed = 0"
      " ORDER BY last_active DESC, id LIMIT ?1",
      sql_limit(limit));
  while (TRY(rows.step())) {
    tenants.push_back(TenantId::from_store(std::string(rows.text(0))));
  }
  return tenants;
}

Result<StoreCounts> counts(SqliteDb& db) {
  auto row = db.query(
      "SELECT (SELECT value FROM totals WHERE name = 'tenants'),"
      " (SELECT created_at FROM keys INDEXED BY keys_by_age"
      "  WHERE state = 'active' AND tenant <> '@service' AND tenant_destroyed = 0"
      "  ORDER BY created_at LIMIT 1)");
  TRY(row.step());
  return StoreCounts{.tenants = static_cast<std::uint64_t>(row.integer(0)),
                     .oldest_active_key = row.maybe_time(1)};
}

Result<std::vector<KeyRecord>> keys_created_before(SqliteDb& db, SystemTime before,
                                                   const AgePlace& after, std::size_t limit) {
  std::vector<KeyRecord> keys;
  auto rows =
      db.query("SELECT " KEY_COLUMNS
               ", k.tenant FROM keys k INDEXED BY keys_by_age"
               " WHERE k.state = 'active' AND k.tenant <> '@service' AND k.tenant_destroyed = 0"
               " AND k.created_at < ?1 AND (k.created_at, k.tenant, k.type) > (?2, ?3, ?4)"
               " ORDER BY k.created_at, k.tenant, k.type LIMIT ?5",
               before, after.created_at, after.tenant, to_string(after.type), sql_limit(limit));
  while (TRY(rows.step())) {
    const auto tenant = TenantId::from_store(std::string(rows.text(column_provider)));
    keys.push_back(TRY(read_key(rows, tenant)));
  }
  return keys;
}

Result<std::uint64_t> count_tenants_with_keys_before(SqliteDb& db, SystemTime before) {
  auto row = db.query(
      "SELECT count(DISTINCT tenant) FROM keys INDEXED BY keys_by_age WHERE state = 'active'"
      " AND tenant <> '@service' AND tenant_destroyed = 0 AND created_at < ?1",
      before);
  TRY(row.step());
  return static_cast<std::uint64_t>(row.integer(0));
}

Result<std::vector<Replacement>> replacements_between(SqliteDb& db, SystemTime from, SystemTime to,
                                                      std::size_t limit) {
  std::vector<Replacement> replaced;
  auto rows = db.query(
      "SELECT " KEY_COLUMNS
      ", k.tenant, p.id FROM keys k INDEXED BY keys_successors"
      " JOIN keys p ON p.tenant = k.tenant AND p.type = k.type AND p.version = k.version - 1"
      " WHERE k.version > 1 AND k.created_at >= ?1 AND k.created_at < ?2"
      " ORDER BY k.created_at, k.tenant, k.type LIMIT ?3",
      from, to, sql_limit(limit));
  while (TRY(rows.step())) {
    const auto tenant = TenantId::from_store(std::string(rows.text(column_provider)));
    Replacement each{.predecessor = {}, .successor = TRY(read_key(rows, tenant))};
    std::array<std::uint8_t, 16> id{};
    const auto bytes = rows.blob(column_master_key_id);
    if (bytes.size() != id.size()) return damaged(tenant, "id is not 16 bytes");
    std::ranges::copy(bytes, id.begin());
    each.predecessor = KeyId(id);
    replaced.push_back(std::move(each));
  }
  return replaced;
}

Result<std::vector<KeyRecord>> retired_seeds(SqliteDb& db, SystemTime before, std::size_t limit) {
  std::vector<KeyRecord> keys;
  auto rows = db.query("SELECT " KEY_COLUMNS
                       ", k.tenant FROM keys k INDEXED BY keys_retired_seeds"
                       " WHERE k.type = 'signing' AND k.state = 'rotated'"
                       " AND k.secret_destroyed_at IS NULL AND k.state_changed_at < ?1"
                       " ORDER BY k.state_changed_at, k.tenant LIMIT ?2",
                       before, sql_limit(limit));
  while (TRY(rows.step())) {
    const auto tenant = TenantId::from_store(std::string(rows.text(column_provider)));
    keys.push_back(TRY(read_key(rows, tenant)));
  }
  return keys;
}

// Of the wrappings of one key: whether they are others than one by each of ?1 master keys, which
// are ?2 ?3 and ?4 ?5.
#define WRAPPED_OTHERWISE                                          \
  "count(*) <> ?1 OR total((provider = ?2 AND master_key_id = ?3)" \
  " OR (provider = ?4 AND master_key_id = ?5)) <> ?1"

Result<std::uint64_t> count_keys_not_wrapped_by(SqliteDb& db, std::span<const MasterKey> masters) {
  const auto &one = masters.front(), &other = masters.back();
  auto row = db.query(
      "SELECT count(*) FROM (SELECT 1 FROM wrappings GROUP BY key_id"
      " HAVING " WRAPPED_OTHERWISE ")",
      sql_limit(masters.size()), one.provider, one.master_key_id, other.provider,
      other.master_key_id);
  if (!TRY(row.step())) return fail(ErrorCode::internal, "a count has no row");
  return static_cast<std::uint64_t>(row.integer(0));
}

Result<std::vector<KeyRecord>> keys_not_wrapped_by(SqliteDb& db, std::span<const MasterKey> masters,
                                                   const KeyId& after, std::size_t limit) {
  const auto &one = masters.front(), &other = masters.back();
  std::vector<KeyRecord> keys;
  auto rows = db.query("SELECT " KEY_COLUMNS
                       ", w.provider, w.master_key_id, w.blob, k.tenant"
                       " FROM wrappings w JOIN keys k ON k.id = w.key_id"
                       " WHERE w.key_id > ?6 AND (SELECT " WRAPPED_OTHERWISE
                       " FROM wrappings WHERE key_id = w.key_id) ORDER BY w.key_id",
                       sql_limit(masters.size()), one.provider, one.master_key_id, other.provider,
                       other.master_key_id, after);
  bool more = TRY(rows.step());
  while (more && keys.size() < limit) {
    const auto tenant = TenantId::from_store(std::string(rows.text(column_tenant_destroyed)));
    auto key = TRY(read_key(rows, tenant));
    do {
      key.wrappings.push_back({.provider = std::string(rows.text(column_provider)),
                               .master_key_id = std::string(rows.text(column_master_key_id)),
                               .blob = copy(rows.blob(column_blob))});
      more = TRY(rows.step());
    } while (more && std::ranges::equal(rows.blob(column_id), key.id.bytes()));
    keys.push_back(std::move(key));
  }
  return keys;
}

Result<std::vector<WrappingCount>> wrapping_counts(SqliteDb& db) {
  std::vector<WrappingCount> counts;
  auto rows = db.query(
      "SELECT provider, master_key_id, value FROM wrapping_totals WHERE value > 0"
      " ORDER BY provider, master_key_id");
  while (TRY(rows.step())) {
    counts.push_back({.provider = std::string(rows.text(0)),
                      .master_key_id = std::string(rows.text(1)),
                      .keys = static_cast<std::uint64_t>(rows.integer(2))});
  }
  return counts;
}

Result<std::optional<std::string>> find_note(SqliteDb& db, std::string_view name) {
  auto row = db.query("SELECT text FROM notes WHERE name = ?1", name);
  if (!TRY(row.step())) return std::nullopt;
  return std::string(row.text(0));
}

Result<std::vector<std::pair<std::string, std::string>>> list_notes(SqliteDb& db,
                                                                    std::string_view prefix,
                                                                    std::string_view after,
                                                                    std::size_t limit) {
  std::vector<std::pair<std::string, std::string>> notes;
  auto rows = db.query(
      "SELECT name, text FROM notes WHERE name >= ?1 AND name > ?2 AND"
      " substr(name, 1, length(?1)) = ?1 ORDER BY name LIMIT ?3",
      prefix, after, sql_limit(limit));
  while (TRY(rows.step())) notes.emplace_back(rows.text(0), rows.text(1));
  return notes;
}

}  // namespace betrace::kms::sqlite
