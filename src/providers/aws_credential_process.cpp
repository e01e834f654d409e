#include "providers/aws_credential_process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/try.h"
#include "providers/aws_remote_credentials.h"

extern char** environ;  // NOLINT: POSIX declares it nowhere

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t output_max = 64 << 10;

template <class... Arguments>
std::unexpected<Error> refuse(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  return fail(ErrorCode::kms_access_denied,
              "credential_process: " + fmt::format(format, std::forward<Arguments>(arguments)...));
}

// A child that has ended when this goes.
class Child {
 public:
  Child(pid_t pid, int output) : pid_(pid), output_(output) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    ::close(output_);
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }
  int output() const { return output_; }
  // Its status when it has ended.
  std::optional<int> ended() {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
    pid_ = 0;
    return status;
  }

 private:
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    return status;
  }

  pid_t pid_;
  int output_;
};

using Time = std::chrono::steady_clock::time_point;

std::unexpected<Error> late() {
  return fail(ErrorCode::kms_timeout, "credential_process: it did not end in time");
}

// Standard output to a pipe, the other two to nothing.
Result<std::pair<pid_t, int>> spawn(std::vector<std::string>& words) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return refuse("no pipe can be had");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t pid = 0;
  const int failed =
      ::posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (failed == 0) return std::pair(pid, ends[0]);
  ::close(ends[0]);
  return refuse("'{}' cannot be run: {}", words[0], std::generic_category().message(failed));
}

Result<WipedString> read_all(const Child& child, Time end, const Clock& clock) {
  WipedString text;
  std::array<char, 4096> part{};
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(end - clock.steady_now());
    if (left <= milliseconds(0)) return late();
    pollfd wanted{.fd = child.output(), .events = POLLIN, .revents = 0};
    const int ready =
        ::poll(&wanted, 1, static_cast<int>(std::min(left, milliseconds(1000)).count()));
    if (ready <= 0) continue;
    const auto count = ::read(child.output(), part.data(), part.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text.append(part.data(), static_cast<std::size_t>(count));
    if (text.size() > output_max) return refuse("it printed more than 64 KiB");
  }
  wipe(part.data(), part.size());
  return text;
}

// It may have closed its output and live on.
Result<int> status_of(Child& child, Time end, const Clock& clock) {
  for (;;) {
    if (const auto status = child.ended()) return *status;
    if (clock.steady_now() >= end) return late();
    ::poll(nullptr, 0, 5);
  }
}

}  // namespace

std::optional<std::vector<std::string>> split_command(std::string_view text) {
  std::vector<std::string> words;
  bool inside = false, quoted = false;
  for (const char c : text) {
    if (c == '"') {
      quoted = !quoted;
      if (!inside) words.emplace_back();
      inside = true;
    } else if (!quoted && (c == ' ' || c == '\t')) {
      inside = false;
    } else {
      if (!inside) words.emplace_back();
      inside = true;
      words.back() += c;
    }
  }
  if (quoted) return std::nullopt;
  return words;
}

Result<AwsCredentials> run_credential_process(std::string_view command, const CallContext& call,
                                              const Clock& clock) {
  auto words = split_command(command);
  if (!words || words->empty()) return refuse("its quotes are not closed, or it is empty");
  const auto [pid, output] = TRY(spawn(*words));
  Child child(pid, output);
  const auto end = std::min(call.deadline, clock.steady_now() + std::chrono::minutes(1));
  const auto text = TRY(read_all(child, end, clock));
  const int status = TRY(status_of(child, end, clock));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return refuse("'{}' ended with {}", words->front(),
                  WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
  const auto json = JsonAnswer::parse(text);
  auto found = json ? aws_credentials_in(*json, "SessionToken") : std::nullopt;
  if (!found || json->number("/Version") != 1) {
    return refuse("'{}' printed something that is no credentials of Version 1", words->front());
  }
  return *std::move(found);
}

}  // namespace betrace::kms
