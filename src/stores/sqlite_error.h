// What SQLite's result codes mean to the person who has to repair the store at night.
#pragma once

#include <string>
#include <string_view>

#include "betrace/kms/error.h"

namespace betrace::kms {

struct SqliteFailure {
  int code = 0;  // extended result code
  std::string_view path;
  std::string_view message;  // SQLite's own
  int system_error = 0;      // errno, where SQLite had one
};

// conflict for a violated constraint, else store_unavailable: the file, what is wrong, what to do.
Error sqlite_error(const SqliteFailure& failure);

}  // namespace betrace::kms
