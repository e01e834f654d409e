// The outside as a command sees it: streams, environment, network. A test hands in its own.
// Not thread-safe; the streams outlive it.
#pragma once

#include <chrono>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "betrace/kms/error.h"

#include "base/http.h"

namespace betrace::kms {

enum class ExitCode : int { ok = 0, check_failed = 1, usage = 2, unreachable = 3 };

// What a command ends with when the service answered `code`.
ExitCode exit_code_of(ErrorCode code);

struct World {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  // An environment variable; nothing when unset.
  std::function<std::optional<std::string>(std::string_view name)> environment;
  std::function<std::unique_ptr<HttpClient>()> http_client;
  // Somebody looks at it: progress is drawn, bytes are not printed.
  bool out_is_terminal = false, err_is_terminal = false;
  std::function<void(std::chrono::milliseconds)> pause;
  std::string_view program = "betrace-kms";
};

// One line on `world.err`, after the program's name.
ExitCode complain(const World& world, std::string_view message, ExitCode code);

// What a terminal would obey is shown as \xNN: for text that came from elsewhere.
std::string printable(std::string_view text);

}  // namespace betrace::kms
