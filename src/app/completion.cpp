#include <algorithm>
#include <string>
#include <vector>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "app/command_line.h"
#include "app/command_tree.h"

namespace betrace::kms {
namespace {

struct Option {
  std::vector<std::string> names;  // with dashes
  std::string what;
  bool takes_value = false;
  bool takes_file = false;
};

struct Command {
  std::string name, what;
  std::string path;  // "tenants list"
  std::vector<Option> options;
  std::vector<std::string> words;  // what may stand in the first argument's place
  bool takes_file = false;         // an argument names a file
  std::vector<Command> below;
};

Option describe(const CLI::Option& option) {
  Option out{.names = {}, .what = option.get_description()};
  for (const auto& name : option.get_snames()) out.names.push_back("-" + name);
  for (const auto& name : option.get_lnames()) out.names.push_back("--" + name);
  out.takes_value = option.get_expected_max() > 0 && option.get_type_size_max() > 0;
  out.takes_file = option.get_type_name().find("FILE") != std::string::npos;
  return out;
}

Command describe(const CLI::App& app, const std::string& parent) {
  Command out{.name = app.get_name(), .what = app.get_description(), .path = parent};
  for (const auto* option : app.get_options()) {
    if (option->get_positional()) {
      out.takes_file |= option->get_type_name() == "FILE";
      if (out.path == "completion") out.words = {"bash", "zsh", "fish"};
      if (out.path == "health") out.words = {"live", "ready", "started", "serving"};
    } else {
      out.options.push_back(describe(*option));
    }
  }
  for (const auto* below : app.get_subcommands([](const CLI::App*) { return true; })) {
    out.below.push_back(
        describe(*below, parent.empty() ? below->get_name() : parent + " " + below->get_name()));
    out.words.push_back(below->get_name());
  }
  return out;
}

std::vector<const Command*> flatten(const Command& root) {
  std::vector<const Command*> out{&root};
  for (const auto& below : root.below) {
    const auto more = flatten(below);
    out.insert(out.end(), more.begin(), more.end());
  }
  return out;
}

std::string joined(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, " "));
}

// What bash chooses from at each command: "'sign') words='…' options='…' … ;;"
std::string cases(const Command& root) {
  std::string out;
  for (const auto* command : flatten(root)) {
    std::vector<std::string> options, values, files;
    for (const auto& option : command->options) {
      options.insert(options.end(), option.names.begin(), option.names.end());
      auto& kind = option.takes_file ? files : values;
      if (option.takes_value) kind.insert(kind.end(), option.names.begin(), option.names.end());
    }
    out += fmt::format("    '{}') words='{}' options='{}' values='{}' files='{}' file={} ;;\n",
                       command->path, joined(command->words), joined(options), joined(values),
                       joined(files), command->takes_file ? 1 : 0);
  }
  return out;
}

constexpr std::string_view bash_head = R"(# bash completion of betrace-kms
_betrace_kms() {
  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"
  local command='' words options values files file word
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$command $word" in
)";

constexpr std::string_view bash_middle = R"(    esac
  done
  case "$command" in
)";

constexpr std::string_view bash_tail = R"(  esac
  COMPREPLY=()
  if [[ " $files " == *" $previous "* ]]; then
    COMPREPLY=($(compgen -f -- "$current"))
  elif [[ " $values " == *" $previous "* ]]; then
    return
  elif [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  else
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    [[ $file == 1 ]] && COMPREPLY+=($(compgen -f -- "$current"))
  fi
}
)";

std::string bash(const Command& root) {
  std::string steps;
  for (const auto* command : flatten(root)) {
    for (const auto& below : command->below) {
      steps +=
          fmt::format("      '{} {}') command='{}' ;;\n", command->path, below.name, below.path);
    }
  }
  return fmt::format("{}{}{}{}{}complete -o filenames -F _betrace_kms betrace-kms\n", bash_head,
                     steps, bash_middle, cases(root), bash_tail);
}

std::string quoted(std::string text) {
  for (std::size_t at = 0; (at = text.find('\'', at)) != std::string::npos; at += 4) {
    text.replace(at, 1, R"('\'')");
  }
  return "'" + text + "'";
}

// In zsh's _arguments and _describe these end a field.
std::string zsh_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == ':' || c == '[' || c == ']' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string zsh_function(const Command& command) {
  std::string name = "_betrace_kms";
  for (const char c : " " + command.path) name += c == ' ' || c == '-' ? '_' : c;
  std::string out = fmt::format("{}() {{\n  local -a words_here\n  _arguments -C", name);
  for (const auto& option : command.options) {
    for (const auto& each : option.names) {
      out += " \\\n    " + quoted(fmt::format("*{}[{}]{}", each, zsh_text(option.what),
                                              option.takes_file    ? ":file:_files"
                                              : option.takes_value ? ":value: "
                                                                   : ""));
    }
  }
  if (!command.below.empty()) {
    out += " \\\n    '1: :->command' '*:: :->rest'\n  case $state in\n  command)\n    words_here=(";
    for (const auto& below : command.below) {
      out += "\n      " + quoted(below.name + ":" + zsh_text(below.what));
    }
    out += "\n    )\n    _describe command words_here ;;\n  rest)\n    case $words[1] in\n";
    for (const auto& below : command.below) {
      std::string function = name + (command.path.empty() ? "" : "_");
      for (const char c : below.name) function += c == '-' ? '_' : c;
      out += fmt::format("    {}) {} ;;\n", below.name, function);
    }
    out += "    esac ;;\n  esac\n";
  } else if (!command.words.empty()) {
    out += fmt::format(" \\\n    '1: :({})'\n", joined(command.words));
  } else {
    out += command.takes_file ? " \\\n    '*:file:_files'\n" : "\n";
  }
  return out + "}\n";
}

std::string zsh(const Command& root) {
  std::string out = "#compdef betrace-kms\n";
  for (const auto* command : flatten(root)) out += zsh_function(*command);
  return out +
         "if [ \"$funcstack[1]\" = _betrace-kms ]; then _betrace_kms_ \"$@\"; "
         "else compdef _betrace_kms_ betrace-kms; fi\n";
}

std::string fish(const Command& root) {
  std::string out = "# fish completion of betrace-kms\ncomplete -c betrace-kms -f\n";
  for (const auto* command : flatten(root)) {
    std::string when = "__fish_use_subcommand";
    for (std::size_t at = 0; at < command->path.size();) {
      const auto end = std::min(command->path.find(' ', at), command->path.size());
      when = (at == 0 ? "" : when + "; and ") + "__fish_seen_subcommand_from " +
             command->path.substr(at, end - at);
      at = end + 1;
    }
    const auto line = "complete -c betrace-kms -n " + quoted(when);
    for (const auto& below : command->below) {
      out += fmt::format("{} -a {} -d {}\n", line, below.name, quoted(below.what));
    }
    if (command->below.empty() && !command->words.empty()) {
      out += fmt::format("{} -a {}\n", line, quoted(joined(command->words)));
    }
    if (command->takes_file) out += line + " -F\n";
    for (const auto& option : command->options) {
      out += line;
      for (const auto& name : option.names) {
        out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      if (option.takes_value) out += option.takes_file ? " -r -F" : " -x";
      out += " -d " + quoted(option.what) + "\n";
    }
  }
  return out;
}

}  // namespace

std::string completion_script(const std::string& shell) {
  CommandValues values;
  const auto root = describe(*make_command_tree(values), "");
  if (shell == "zsh") return zsh(root);
  return shell == "fish" ? fish(root) : bash(root);
}

}  // namespace betrace::kms
