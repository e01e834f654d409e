// What a SqliteKeyStore writes, one function each, inside a transaction that the caller began and
// undoes when they fail. Errors: as in KeyStore.
#pragma once

#include "betrace/kms/key_store.h"

#include "stores/sqlite_db.h"

namespace betrace::kms::sqlite {

Status create_tenant(SqliteDb& db, const TenantRecord& tenant, std::span<const KeyRecord> keys);
Status insert_service_key(SqliteDb& db, const KeyRecord& key);
Status insert_key(SqliteDb& db, const KeyRecord& key);
Status insert_wrapping(SqliteDb& db, const KeyId& key, const Wrapping& wrapping);
Status touch(SqliteDb& db, std::span<const std::pair<TenantId, SystemTime>> activity);
Result<std::uint64_t> reserve(SqliteDb& db, std::string_view counter, std::uint64_t count,
                              std::uint64_t limit);

}  // namespace betrace::kms::sqlite
