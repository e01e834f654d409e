// A configuration in memory: overrides, an environment that is a map, and a file in a directory of
// the test's own. Not thread-safe.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "app/config.h"
#include "support/temporary_directory.h"

namespace betrace::kms {

class ConfigTest : public testing::Test {
 protected:
  std::map<std::string, std::string> overrides_, environment_;
  TemporaryDirectory folder_;
  std::string file_ = folder_.file("application.properties");
  bool lenient_ = false;

  void write(std::string_view content) { folder_.write("application.properties", content); }

  ConfigInputs inputs() const {
    ConfigInputs inputs;
    inputs.overrides = overrides_;
    inputs.environment = [this](std::string_view name) -> std::optional<std::string> {
      const auto found = environment_.find(std::string(name));
      if (found == environment_.end()) return std::nullopt;
      return found->second;
    };
    inputs.search_paths = {file_};
    inputs.lenient = lenient_;
    return inputs;
  }

  Config load() const {
    auto config = Config::load(inputs());
    if (!config) {
      ADD_FAILURE() << config.error().message;
      return Config::load({}).value();
    }
    return *std::move(config);
  }

  // The mistakes, one a line.
  std::vector<std::string> mistakes() const {
    const auto config = Config::load(inputs());
    if (config) return {};
    EXPECT_EQ(config.error().code, ErrorCode::invalid_argument);
    std::vector<std::string> lines;
    std::istringstream text(config.error().message);
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }

  std::string mistake() const {
    const auto lines = mistakes();
    EXPECT_EQ(lines.size(), 1u) << testing::PrintToString(lines);
    return lines.empty() ? "" : lines.front();
  }

  // The source of a key's value, with the folder left out.
  std::string source(const Config& config, std::string_view key) const {
    for (const auto& entry : config.entries()) {
      if (entry.key == key) return without_folder(entry.source);
    }
    return "no such key";
  }

  std::string without_folder(std::string text) const {
    const std::string prefix = folder_.path() + "/";
    for (auto at = text.find(prefix); at != std::string::npos; at = text.find(prefix)) {
      text.erase(at, prefix.size());
    }
    return text;
  }

  std::vector<std::string> warnings(const Config& config) const {
    std::vector<std::string> all;
    for (const auto& each : config.warnings()) all.push_back(without_folder(each));
    return all;
  }
};

}  // namespace betrace::kms
