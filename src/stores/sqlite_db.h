// A connection to one SQLite file and the statements prepared on it: owns both, and turns every
// failure into an Error. Not synchronised: one thread at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace betrace::kms {

class SqliteDb;

// A statement while it runs; reset when it goes. Arguments and columns are views: arguments must
// outlive the query, columns the next step.
class Query {
 public:
  ~Query();
  Query(Query&& other) noexcept;
  Query& operator=(Query&&) = delete;

  // Whether there is a row.
  Result<bool> step();
  // To the end.
  Status run();
  // Whether the last step failed because another program holds the file.
  bool busy() const;

  bool is_null(int column) const;
  std::int64_t integer(int column) const;
  SystemTime time(int column) const;
  std::optional<SystemTime> maybe_time(int column) const;
  std::string_view text(int column) const;
  std::span<const std::uint8_t> blob(int column) const;

 private:
  friend class SqliteDb;
  Query(const SqliteDb& db, sqlite3_stmt* statement, int code);

  void bind(std::int64_t value);
  void bind(SystemTime value) { bind(static_cast<std::int64_t>(value.time_since_epoch().count())); }
  void bind(std::optional<SystemTime> value);
  void bind(std::string_view value);
  void bind(std::span<const std::uint8_t> value);  // empty is NULL
  void bind(const KeyId& value) { bind(std::span<const std::uint8_t>(value.bytes())); }

  const SqliteDb* db_;
  sqlite3_stmt* statement_;
  int code_;
  int bound_ = 0;
};

// Which file a path led to: another one may take its place.
struct FileIdentity {
  std::uint64_t device = 0, inode = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

class SqliteDb {
 public:
  struct Options {
    std::string path;  // absolute
    // Opens this file or none.
    std::optional<FileIdentity> identity = std::nullopt;
    std::chrono::milliseconds busy_timeout{2000};
    std::size_t cache_kib = 512;
    bool query_only = false;
  };
  // The file must exist.
  static Result<SqliteDb> open(const Options& options);

  // `sql` is compiled once: it must be of static lifetime and is known by its address.
  template <class... Args>
  Query query(const char* sql, const Args&... args) {
    Query query = start(sql);
    (query.bind(args), ...);
    return query;
  }
  // One or more statements, compiled and forgotten.
  Status execute(const char* sql);
  // Replaces this database's content with that of `source`, as it is at one moment.
  Status copy_from(SqliteDb& source,
                   const std::function<void(std::uint64_t done, std::uint64_t total)>& progress);

  // False after the transaction ended by itself, as it does when the disk is full.
  bool in_transaction() const;
  // Rows changed by the last statement, without those that triggers changed.
  std::int64_t rows_changed() const;
  // Errors: store_unavailable when the path no longer leads to the open file.
  Status check_in_place() const;

  Error error(int code) const;
  FileIdentity identity() const { return identity_; }
  const std::string& path() const { return path_; }

 private:
  struct Close {
    void operator()(sqlite3* db) const;
  };
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  struct Prepared {
    const char* sql;
    std::unique_ptr<sqlite3_stmt, Finalize> statement;
  };
  SqliteDb(std::string path, sqlite3* db) : path_(std::move(path)), db_(db) {}
  Query start(const char* sql);
  Error moved() const;

  std::string path_;
  FileIdentity identity_;
  std::unique_ptr<sqlite3, Close> db_;
  std::vector<Prepared> prepared_;  // after db_: goes first
};

}  // namespace betrace::kms
