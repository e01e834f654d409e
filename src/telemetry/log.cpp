#include "telemetry/log.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <spdlog/sinks/sink.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/try.h"
#include "telemetry/log_limit.h"
#include "telemetry/log_line.h"

namespace betrace::kms {
namespace {

constexpr std::size_t category_bytes_max = 256;
constexpr std::size_t categories_max = 1000;

void write_all(int fd, std::string_view text) {
  constexpr int stalled_ms_max = 1000;
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      pollfd waiting{.fd = fd, .events = POLLOUT, .revents = 0};
      // A reader that has stopped reading must not stop the service.
      if (::poll(&waiting, 1, stalled_ms_max) <= 0) return;
    } else if (errno != EINTR) {
      return;
    }
  }
}

std::string thread_name() {
  if (::getpid() == ::gettid()) return "main";
  std::array<char, 16> name{};
  if (::pthread_getname_np(::pthread_self(), name.data(), name.size()) != 0) return "?";
  return name.data();
}

// Where every logger writes. One write(2) a line: lines of several processes and of a crashed one
// arrive whole, and there is nothing to flush.
class LineSink final : public spdlog::sinks::sink {
 public:
  struct Targets {
    bool console = true, console_json = false, file_json = false;
    std::string file;
  };

  void log(const spdlog::details::log_msg& message) override {
    const std::string thread = thread_name();
    const std::string_view category(message.logger_name.data(), message.logger_name.size());
    const std::string_view text(message.payload.data(), message.payload.size());
    const std::lock_guard lock(mutex_);
    // Evidence is complete, or says itself what is missing.
    if (category != log_category::audit) {
      const auto verdict = limit_.admit(message.time, category, message.level, text);
      for (const auto& note : verdict.before) write(note, message.time, thread);
      if (!verdict.write) return;
    }
    write({.at = message.time,
           .level = message.level,
           .category = category,
           .thread = thread,
           .message = text});
  }

  void flush() override {
    const std::string thread = thread_name();
    const std::lock_guard lock(mutex_);
    for (const auto& note : limit_.take_notes()) {
      write(note, std::chrono::system_clock::now(), thread);
    }
    if (file_ >= 0) ::fdatasync(file_);
  }

  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

  Status configure(Targets targets) {
    const int file = targets.file.empty() ? -1 : TRY(open_file(targets.file));
    const std::lock_guard lock(mutex_);
    replace_file(file);
    targets_ = std::move(targets);
    return {};
  }

  Status reopen() {
    const std::lock_guard lock(mutex_);
    if (!targets_.file.empty()) replace_file(TRY(open_file(targets_.file)));
    return {};
  }

 private:
  static Result<int> open_file(const std::string& path) {
    const auto folder = std::filesystem::path(path).parent_path();
    std::error_code ignored;  // open(2) says it better
    if (!folder.empty()) std::filesystem::create_directories(folder, ignored);
    const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("cannot open log file '{}': {}", path, std::strerror(errno)));
    }
    return fd;
  }

  void replace_file(int fd) {
    if (file_ >= 0) ::close(file_);
    file_ = fd;
  }

  void write(const LogLimit::Note& note, LogLimit::Time at, std::string_view thread) {
    write({.at = at,
           .level = note.level,
           .category = note.category,
           .thread = thread,
           .message = note.message});
  }

  void write(LogLine line) {
    line.sequence = ++sequence_;
    if (targets_.console) emit(STDERR_FILENO, line, targets_.console_json);
    if (file_ >= 0) emit(file_, line, targets_.file_json);
  }

  void emit(int fd, const LogLine& line, bool json) {
    buffer_.clear();
    json ? append_json_line(line, buffer_) : append_text_line(line, buffer_);
    write_all(fd, buffer_);
  }

  std::mutex mutex_;
  LogLimit limit_;
  Targets targets_;
  int file_ = -1;
  std::uint64_t sequence_ = 0;
  std::string buffer_;
};

class Loggers {
 public:
  spdlog::logger& find(std::string_view category) {
    const std::lock_guard lock(mutex_);
    auto found = loggers_.find(category);
    if (found == loggers_.end()) {
      auto made = std::make_unique<spdlog::logger>(std::string(category), sink_);
      made->set_level(level_of(category));
      found = loggers_.emplace(category, std::move(made)).first;
    }
    return *found->second;
  }

  Status configure(const LogOptions& options) {
    auto levels = TRY(parse(options.level, options.category_levels));
    TRY(sink_->configure({.console = options.console,
                          .console_json = options.json,
                          .file_json = options.file_json,
                          .file = options.file}));
    const std::lock_guard lock(mutex_);
    levels_ = std::move(levels);
    apply_levels();
    return {};
  }

  Status set_levels(const std::string& root, const std::map<std::string, std::string>& levels) {
    auto parsed = TRY(parse(root, levels));
    const std::lock_guard lock(mutex_);
    levels_ = std::move(parsed);
    apply_levels();
    return {};
  }

  Status set_level(std::string_view category, spdlog::level::level_enum level) {
    const std::lock_guard lock(mutex_);
    if (levels_.size() >= categories_max && !levels_.contains(category)) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("at most {} log categories may have a level", categories_max));
    }
    levels_.insert_or_assign(std::string(category), level);
    apply_levels();
    return {};
  }

  LineSink& sink() { return *sink_; }

 private:
  using Levels = std::map<std::string, spdlog::level::level_enum, std::less<>>;

  static Result<Levels> parse(const std::string& root,
                              const std::map<std::string, std::string>& categories) {
    Levels levels{{"", TRY(parse_log_level(root))}};
    for (const auto& [category, level] : categories) {
      levels[category] = TRY(parse_log_level(level));
    }
    return levels;
  }

  spdlog::level::level_enum level_of(std::string_view category) const {
    for (;;) {
      if (const auto found = levels_.find(category); found != levels_.end()) return found->second;
      if (category.empty()) return spdlog::level::info;
      const auto dot = category.rfind('.');
      category = dot == std::string_view::npos ? std::string_view() : category.substr(0, dot);
    }
  }

  void apply_levels() {
    for (const auto& [category, each] : loggers_) each->set_level(level_of(category));
  }

  std::mutex mutex_;
  std::shared_ptr<LineSink> sink_ = std::make_shared<LineSink>();
  Levels levels_;  // "" is the root
  std::map<std::string, std::unique_ptr<spdlog::logger>, std::less<>> loggers_;
};

// Never destroyed: threads may log until the process is gone.
Loggers& loggers() {
  static auto* const all = new Loggers;
  return *all;
}

std::string upper(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : c; });
  return result;
}

}  // namespace

Result<spdlog::level::level_enum> parse_log_level(std::string_view text) {
  using namespace spdlog::level;
  // CONFIG lies between INFO and DEBUG, so that a threshold of CONFIG lets INFO pass.
  static const std::map<std::string, level_enum, std::less<>> names = {
      {"OFF", off},      {"FATAL", critical}, {"ERROR", err},    {"SEVERE", err},  {"WARN", warn},
      {"WARNING", warn}, {"INFO", info},      {"CONFIG", info},  {"DEBUG", debug}, {"FINE", debug},
      {"TRACE", trace},  {"FINER", trace},    {"FINEST", trace}, {"ALL", trace}};
  const auto found = names.find(upper(text));
  if (found != names.end()) return found->second;
  return fail(ErrorCode::invalid_argument,
              fmt::format("unknown log level '{}'; accepted: OFF, FATAL, ERROR (SEVERE), WARN "
                          "(WARNING), INFO (CONFIG), DEBUG (FINE), TRACE (FINER, FINEST), ALL",
                          text));
}

Status configure_logging(const LogOptions& options) { return loggers().configure(options); }

Status set_log_level(std::string_view category, std::string_view level) {
  const auto parsed = TRY(parse_log_level(level));
  const bool plain = std::ranges::all_of(category, [](char c) { return c > 0x20 && c < 0x7F; });
  if (!plain || category.size() > category_bytes_max) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("a log category is a dotted name of at most {} printable ASCII "
                            "characters, e.g. com.betrace.kms",
                            category_bytes_max));
  }
  return loggers().set_level(category, parsed);
}

Status set_log_levels(const std::string& level,
                      const std::map<std::string, std::string>& category_levels) {
  return loggers().set_levels(level, category_levels);
}

Status reopen_log_file() { return loggers().sink().reopen(); }
void flush_logs() { loggers().sink().flush(); }
spdlog::logger& logger(std::string_view category) { return loggers().find(category); }

}  // namespace betrace::kms
