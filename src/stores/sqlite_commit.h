// One commit of a SqliteKeyStore, inside a savepoint that the caller undoes when it fails. Errors:
// as KeyStore::commit().
#pragma once

#include "betrace/kms/key_store.h"

#include "stores/lease_clock.h"
#include "stores/sqlite_db.h"

namespace betrace::kms::sqlite {

Status apply(SqliteDb& db, const Commit& commit, const LeaseTime& now);

}  // namespace betrace::kms::sqlite
