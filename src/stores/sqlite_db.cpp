#include "stores/sqlite_db.h"

#include <mutex>
#include <utility>

#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "base/try.h"
#include "stores/sqlite_error.h"

namespace betrace::kms {
namespace {

// The statistics of SQLite's allocator are a lock that all connections share.
void configure_library() {
  static std::once_flag once;
  std::call_once(once, [] { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); });
}

FileIdentity identify(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return {};
  return {.device = status.st_dev, .inode = status.st_ino};
}

}  // namespace

Query::Query(const SqliteDb& db, sqlite3_stmt* statement, int code)
    : db_(&db), statement_(statement), code_(code) {}

Query::Query(Query&& other) noexcept
    : db_(other.db_),
      statement_(std::exchange(other.statement_, nullptr)),
      code_(other.code_),
      bound_(other.bound_) {}

Query::~Query() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

void Query::bind(std::int64_t value) {
  if (code_ == SQLITE_OK) code_ = sqlite3_bind_int64(statement_, ++bound_, value);
}

void Query::bind(std::optional<SystemTime> value) {
  if (value) return bind(*value);
  if (code_ == SQLITE_OK) code_ = sqlite3_bind_null(statement_, ++bound_);
}

void Query::bind(std::string_view value) {
  if (code_ != SQLITE_OK) return;
  const char* data = value.empty() ? "" : value.data();
  code_ = sqlite3_bind_text64(statement_, ++bound_, data, value.size(), SQLITE_STATIC, SQLITE_UTF8);
}

void Query::bind(std::span<const std::uint8_t> value) {
  if (code_ != SQLITE_OK) return;
  const void* data = value.empty() ? nullptr : value.data();
  code_ = sqlite3_bind_blob64(statement_, ++bound_, data, value.size(), SQLITE_STATIC);
}

Result<bool> Query::step() {
  if (code_ == SQLITE_OK || code_ == SQLITE_ROW) code_ = sqlite3_step(statement_);
  if (code_ == SQLITE_ROW) return true;
  if (code_ == SQLITE_DONE) return false;
  return std::unexpected(db_->error(code_));
}

Status Query::run() {
  while (TRY(step())) {
  }
  return {};
}

bool Query::busy() const { return (code_ & 0xff) == SQLITE_BUSY; }

bool Query::is_null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

std::int64_t Query::integer(int column) const { return sqlite3_column_int64(statement_, column); }

SystemTime Query::time(int column) const {
  return SystemTime(std::chrono::milliseconds(integer(column)));
}

std::optional<SystemTime> Query::maybe_time(int column) const {
  if (is_null(column)) return std::nullopt;
  return time(column);
}

std::string_view Query::text(int column) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (data == nullptr) return {};
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

std::span<const std::uint8_t> Query::blob(int column) const {
  const auto* data = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_, column));
  if (data == nullptr) return {};
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

void SqliteDb::Close::operator()(sqlite3* db) const { sqlite3_close_v2(db); }
void SqliteDb::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Result<SqliteDb> SqliteDb::open(const Options& options) {
  configure_library();
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(
      options.path.c_str(), &raw,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, nullptr);
  SqliteDb db(options.path, raw);
  if (code != SQLITE_OK) return std::unexpected(db.error(code));
  db.identity_ = identify(options.path);
  if (options.identity && *options.identity != db.identity_) return std::unexpected(db.moved());
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_busy_timeout(raw, static_cast<int>(options.busy_timeout.count()));
  // Small, because every connection has one and they count towards the idle process.
  sqlite3_db_config(raw, SQLITE_DBCONFIG_LOOKASIDE, nullptr, 512, 64);
  // Else each new value of a parameter that a partial index might be chosen by costs a compilation.
  sqlite3_db_config(raw, SQLITE_DBCONFIG_ENABLE_QPSG, 1, nullptr);
  TRY(db.execute(fmt::format("PRAGMA cache_size = -{};"
                             "PRAGMA foreign_keys = ON;"
                             "PRAGMA secure_delete = ON;"
                             "PRAGMA synchronous = FULL;"
                             "PRAGMA temp_store = MEMORY;"
                             "PRAGMA query_only = {};",
                             options.cache_kib, options.query_only ? "ON" : "OFF")
                     .c_str()));
  return db;
}

Query SqliteDb::start(const char* sql) {
  for (const auto& each : prepared_) {
    if (each.sql == sql) return {*this, each.statement.get(), SQLITE_OK};
  }
  sqlite3_stmt* statement = nullptr;
  const int code =
      sqlite3_prepare_v3(db_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code == SQLITE_OK) prepared_.push_back({sql, decltype(Prepared::statement)(statement)});
  return {*this, statement, code};
}

Status SqliteDb::execute(const char* sql) {
  const int code = sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return std::unexpected(error(code));
  return {};
}

// The source's open read transaction keeps others' commits out of the copy, and keeps SQLite from
// beginning it anew for each of them.
Status SqliteDb::copy_from(SqliteDb& source,
                           const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  constexpr int pages_at_once = 1024;
  TRY(source.execute("BEGIN; SELECT count(*) FROM sqlite_schema"));
  auto* const backup = sqlite3_backup_init(db_.get(), "main", source.db_.get(), "main");
  int code = backup == nullptr ? sqlite3_errcode(db_.get()) : SQLITE_OK;
  while (code == SQLITE_OK) {
    code = sqlite3_backup_step(backup, pages_at_once);
    const auto total = static_cast<std::uint64_t>(sqlite3_backup_pagecount(backup));
    progress(total - static_cast<std::uint64_t>(sqlite3_backup_remaining(backup)), total);
  }
  if (backup != nullptr) sqlite3_backup_finish(backup);
  TRY(source.execute("COMMIT"));
  if (code != SQLITE_DONE) return std::unexpected(error(code));
  return {};
}

bool SqliteDb::in_transaction() const { return sqlite3_get_autocommit(db_.get()) == 0; }

std::int64_t SqliteDb::rows_changed() const { return sqlite3_changes64(db_.get()); }

Status SqliteDb::check_in_place() const {
  int is_moved = 0;
  sqlite3_file_control(db_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &is_moved);
  if (is_moved == 0) return {};
  return std::unexpected(moved());
}

Error SqliteDb::moved() const {
  return sqlite_error({.code = SQLITE_READONLY_DBMOVED,
                       .path = path_,
                       .message = "the path leads elsewhere, or nowhere"});
}

Error SqliteDb::error(int code) const {
  if (db_ == nullptr) return sqlite_error({code, path_, sqlite3_errstr(code)});
  const int extended = sqlite3_extended_errcode(db_.get());
  const bool latest = (extended & 0xff) == (code & 0xff);
  const int kind = code & 0xff;
  const bool from_system = kind == SQLITE_CANTOPEN || kind == SQLITE_IOERR;
  return sqlite_error({.code = latest ? extended : code,
                       .path = path_,
                       .message = latest ? sqlite3_errmsg(db_.get()) : sqlite3_errstr(code),
                       .system_error = from_system ? sqlite3_system_errno(db_.get()) : 0});
}

}  // namespace betrace::kms
