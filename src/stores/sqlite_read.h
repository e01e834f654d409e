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
Result<std::vector<KeyRecord>> keys_created_before(SqliteDb& db, SystemTime before,
                                                   const AgePlace& after, std::size_t limit);
Result<std::uint64_t> count_tenants_with_keys_before(SqliteDb& db, SystemTime before);
Result<std::vector<Replacement>> replacements_between(SqliteDb& db, SystemTime from, SystemTime to,
                                                      std::size_t limit);
Result<std::vector<KeyRecord>> retired_seeds(SqliteDb& db, SystemTime before, std::size_t limit);
Result<std::uint64_t> count_keys_not_wrapped_by(SqliteDb& db, std::span<const MasterKey> masters);
Result<std::vector<KeyRecord>> keys_not_wrapped_by(SqliteDb& db, std::span<const MasterKey> masters,
                                                   const KeyId& after, std::size_t limit);
Result<std::vector<WrappingCount>> wrapping_counts(SqliteDb& db);
Result<std::optional<std::string>> find_note(SqliteDb& db, std::string_view name);
Result<std::vector<std::pair<std::string, std::string>>> list_notes(SqliteDb& db,
                                                                    std::string_view prefix,
                                                                    std::string_view after,
                                                                    std::size_t limit);

}  // namespace betrace::kms::sqlite
