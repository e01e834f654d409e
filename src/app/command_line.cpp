#include "app/command_line.h"

#include <algorithm>
#include <sstream>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "app/command_tree.h"

namespace betrace::kms {
namespace {

// "name=value" pairs into `into`; what is wrong, else empty.
std::string split_pairs(const std::vector<std::string>& pairs, std::string_view option,
                        std::map<std::string, std::string>& into, bool repeats_allowed) {
  for (const auto& pair : pairs) {
    const auto equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      return fmt::format("{} '{}': name=value is expected", option, pair);
    }
    const auto [place, fresh] = into.try_emplace(pair.substr(0, equals), pair.substr(equals + 1));
    if (!fresh && !repeats_allowed) {
      return fmt::format("{}: '{}' is given twice", option, place->first);
    }
    place->second = pair.substr(equals + 1);
  }
  return {};
}

std::string command_name(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  if (chosen.empty()) return {};
  const auto below = command_name(*chosen.front());
  return below.empty() ? chosen.front()->get_name() : chosen.front()->get_name() + " " + below;
}

Finished mistake(const std::string& message) {
  return {.code = ExitCode::usage, .out = {}, .err = "betrace-kms: " + printable(message) + "\n"};
}

// The library's own sentence, and where help is.
Finished usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const auto name = command_name(app);
  const std::string sentence = name.empty() && app.get_subcommands().empty() &&
                                       dynamic_cast<const CLI::RequiredError*>(&error) != nullptr
                                   ? "a command is missing"
                                   : error.what();
  auto finished = mistake(sentence);
  finished.err += fmt::format("Try: betrace-kms {}{}--help\n", name, name.empty() ? "" : " ");
  return finished;
}

}  // namespace

std::variant<CommandLine, Finished> parse_command_line(std::vector<std::string> arguments) {
  CommandValues values;
  const auto app = make_command_tree(values);
  std::reverse(arguments.begin(), arguments.end());  // as the library wants them
  try {
    app->parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return usage_error(*app, error);
    std::ostringstream out, ignored;
    app->exit(error, out, ignored);  // --help, --version
    return Finished{.code = ExitCode::ok, .out = out.str(), .err = {}};
  }
  auto& line = values.line;
  line.command = command_name(*app);
  // As for java and the shell's variables, the last definition of a name counts.
  if (auto wrong = split_pairs(values.definitions, "-D", line.definitions, true); !wrong.empty()) {
    return mistake(wrong);
  }
  if (auto wrong = split_pairs(values.context, "--context", line.context, false); !wrong.empty()) {
    return mistake(wrong);
  }
  return std::move(line);
}

}  // namespace betrace::kms
