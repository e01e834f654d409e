// Keeps a storm of warnings out of the log: what a category says again and again is counted
// instead, and beyond so many warnings and errors a second the rest of them as well. Lines below
// WARN pass. Not thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <spdlog/common.h>

namespace betrace::kms {

class LogLimit {
 public:
  using Time = std::chrono::system_clock::time_point;
  static constexpr std::chrono::seconds repeats_told_after{30};
  static constexpr std::uint64_t lines_a_second_max = 100;  // of one category

  struct Note {
    std::string category;
    spdlog::level::level_enum level = spdlog::level::warn;
    std::string message;  // "last message repeated 812 times"
  };
  struct Verdict {
    bool write = true;
    std::vector<Note> before;  // to be written first
  };
  Verdict admit(Time at, std::string_view category, spdlog::level::level_enum level,
                std::string_view message);
  // What was counted and not told yet.
  std::vector<Note> take_notes();

 private:
  struct Seen {
    std::string message;
    spdlog::level::level_enum level = spdlog::level::off;
    Time since;  // it was written
    std::uint64_t repeated = 0;
    Time second;
    std::uint64_t written = 0, left_out = 0;  // in it
  };
  static void tell_repeats(std::string_view category, Seen& seen, std::vector<Note>& notes);
  static void tell_left_out(std::string_view category, Seen& seen, std::vector<Note>& notes);

  std::map<std::string, Seen, std::less<>> categories_;
};

}  // namespace betrace::kms
