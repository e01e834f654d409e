// Log lines by category, as users already grep and configure them:
//   2026-11-23 02:00:00,123 INFO  [com.betrace.kms.KeyRotationScheduler] (thread) message
// UTC; JSON lines by configuration. A category inherits its level from the longest configured
// prefix. What repeats is counted (log_limit.h). Thread-safe. Never hand a secret to a logger:
// SecretBytes cannot be formatted.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <spdlog/spdlog.h>

#include "betrace/kms/result.h"

namespace betrace::kms {

namespace log_category {
inline constexpr std::string_view kms = "com.betrace.kms";
inline constexpr std::string_view audit = "com.betrace.kms.audit";
inline constexpr std::string_view rotation = "com.betrace.kms.KeyRotationScheduler";
inline constexpr std::string_view retrieval = "com.betrace.services.KeyRetrievalService";
inline constexpr std::string_view aws_sdk = "software.amazon.awssdk";
}  // namespace log_category

struct LogOptions {
  std::string level = "INFO";
  std::map<std::string, std::string> category_levels;  // category → level
  bool console = true;                                 // standard error
  bool json = false;                                   // the console's lines
  std::string file;                                    // empty: none; folders are made
  bool file_json = false;
};

// Quarkus and java.util.logging names: OFF FATAL ERROR WARN INFO DEBUG TRACE ALL, SEVERE WARNING
// CONFIG FINE FINER FINEST; case-insensitive. Errors: invalid_argument.
Result<spdlog::level::level_enum> parse_log_level(std::string_view text);

// Before the first line, once; a file that cannot be opened is an error that names it.
Status configure_logging(const LogOptions& options);
// Live, for a category and everything below it that has no level of its own; "" is the root.
// Errors: invalid_argument.
Status set_log_level(std::string_view category, std::string_view level);
// Live, all of them, instead of those that were set one by one. Errors: invalid_argument.
Status set_log_levels(const std::string& level,
                      const std::map<std::string, std::string>& category_levels);
// Opens the file anew, after logrotate(8) has moved it.
Status reopen_log_file();
void flush_logs();

// The category's logger; lives as long as the process. Keep the reference: the look-up takes a
// lock.
spdlog::logger& logger(std::string_view category);

}  // namespace betrace::kms
