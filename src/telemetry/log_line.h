// One log event as a line of text or of JSON. A message cannot forge a second line: control
// characters, line separators and bytes that are not UTF-8 are written as escapes. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <spdlog/common.h>

namespace betrace::kms {

struct LogLine {
  std::chrono::system_clock::time_point at;
  spdlog::level::level_enum level = spdlog::level::info;
  std::string_view category;
  std::string_view thread;
  std::string_view message;
  std::uint64_t sequence = 0;  // JSON only
};

// "FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE".
std::string_view log_level_name(spdlog::level::level_enum level);

// `2026-11-23 02:00:00,123 INFO  [category] (thread) message`, UTC, with the line feed.
void append_text_line(const LogLine& line, std::string& out);
// One object with Quarkus' names: timestamp, sequence, loggerName, level, message, threadName.
void append_json_line(const LogLine& line, std::string& out);

}  // namespace betrace::kms
