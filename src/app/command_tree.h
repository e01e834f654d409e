// The tree of commands and options, once: parsing, help and shell completion all come from it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/command_line.h"

namespace CLI {
class App;
}

namespace betrace::kms {

// What the parser writes into while the tree is parsed; must outlive the tree.
struct CommandValues {
  CommandLine line;
  std::vector<std::string> definitions;  // name=value
  std::vector<std::string> context;      // name=value
};

std::shared_ptr<CLI::App> make_command_tree(CommandValues& values);

}  // namespace betrace::kms
