#include "telemetry/log_limit.h"

#include <utility>

#include <fmt/format.h>

namespace betrace::kms {
namespace {

// Not either when the clock was set back.
bool is_within(std::chrono::seconds span, LogLimit::Time since, LogLimit::Time now) {
  return now >= since && now - since < span;
}

}  // namespace

void LogLimit::tell_repeats(std::string_view category, Seen& seen, std::vector<Note>& notes) {
  const auto repeated = std::exchange(seen.repeated, 0);
  if (repeated == 0) return;
  notes.push_back({.category = std::string(category),
                   .level = seen.level,
                   .message = fmt::format("last message repeated {} times", repeated)});
}

void LogLimit::tell_left_out(std::string_view category, Seen& seen, std::vector<Note>& notes) {
  const auto left_out = std::exchange(seen.left_out, 0);
  if (left_out == 0) return;
  notes.push_back({.category = std::string(category),
                   .level = spdlog::level::warn,
                   .message = fmt::format("{} more warnings and errors of this category within a "
                                          "second were left out",
                                          left_out)});
}

LogLimit::Verdict LogLimit::admit(Time at, std::string_view category,
                                  spdlog::level::level_enum level, std::string_view message) {
  if (level < spdlog::level::warn) return {};
  auto found = categories_.find(category);
  if (found == categories_.end()) found = categories_.emplace(category, Seen()).first;
  auto& seen = found->second;
  if (level == seen.level && message == seen.message &&
      is_within(repeats_told_after, seen.since, at)) {
    ++seen.repeated;
    return {.write = false, .before = {}};
  }
  if (!is_within(std::chrono::seconds(1), seen.second, at)) {
    Verdict verdict;
    tell_repeats(category, seen, verdict.before);
    tell_left_out(category, seen, verdict.before);
    seen = {
        .message = std::string(message), .level = level, .since = at, .second = at, .written = 1};
    return verdict;
  }
  if (seen.written == lines_a_second_max) {
    seen.left_out += 1 + std::exchange(seen.repeated, 0);
    seen.level = spdlog::level::off;  // the last message is not the one that was written last
    return {.write = false, .before = {}};
  }
  ++seen.written;
  Verdict verdict;
  tell_repeats(category, seen, verdict.before);
  seen.message = message;
  seen.level = level;
  seen.since = at;
  return verdict;
}

std::vector<LogLimit::Note> LogLimit::take_notes() {
  std::vector<Note> notes;
  for (auto& [category, seen] : categories_) {
    tell_repeats(category, seen, notes);
    tell_left_out(category, seen, notes);
  }
  return notes;
}

}  // namespace betrace::kms
