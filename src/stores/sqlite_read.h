// The questions a SqliteKeyStore asks, one function each, on a connection that the caller owns.
// Errors: as in KeyStore.
#pragma once

#include "betrace/kms/key_store.h"

#include "stores/own_writes.h"
#include "stores/sqlite_db.h"

namespace betrace::kms::sqlite {

Result<TenantRecord> find_tenant(SqliteDb& db, const TenantId& tenant);
Result<std::vector<TenantRecord>> list_tenants(SqliteDb& db, const Page& page);
Result<KeyRecord> find_active_key(SqliteDb& db, const TenantId& tenant, KeyType type);
Result<KeyRecord> find_key(SqliteDb& db, const TenantId& tenant, KeyType type,
                           std::uint32_t version);
Result<std::vector<KeyRecord>> list_keys(SqliteDb& db, const TenantId& tenant);
// Without the generations of `own`, where it is given.
Result<Changes> changes_since(SqliteDb& db, std::uint64_t generation, const OwnWrites* own);
Result<std::uint64_t> generation(SqliteDb& db);
Result<std::vector<TenantId>> recently_active(SqliteDb& db, std::size_t limit);
Result<StoreCounts> counts(SqliteDb& db);
Result<bool> has_wrappings_by(SqliteDb& db, std::string_view provider);

}  // namespace betrace::kms::sqlite
