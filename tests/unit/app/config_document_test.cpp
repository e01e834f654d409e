#include <fstream>
#include <map>
#include <sstream>

#include <gtest/gtest.h>

#include "app/config_keys.h"

namespace betrace::kms {
namespace {

struct Row {
  std::string default_value, accepted, meaning;
};

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(' ');
  const auto last = text.find_last_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

std::string without_ticks(std::string text) {
  std::erase(text, '`');
  return text == "–" ? "" : text;
}

// Every row of every table of docs/configuration.md that begins with "| Key |".
std::map<std::string, Row> documented() {
  std::ifstream file(BETRACE_SOURCE_DIR "/docs/configuration.md");
  std::map<std::string, Row> rows;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("| Key |")) inside = true;
    if (!line.starts_with("|")) inside = false;
    if (!inside || !line.starts_with("| `")) continue;
    std::istringstream cells(line.substr(1));
    std::string cell[4];
    for (auto& each : cell) std::getline(cells, each, '|');
    const Row row{without_ticks(trimmed(cell[1])), trimmed(cell[2]), trimmed(cell[3])};
    EXPECT_TRUE(rows.emplace(without_ticks(trimmed(cell[0])), row).second) << line;
  }
  return rows;
}

std::string accepted(const ConfigKey& key) {
  switch (key.type) {
    case ConfigType::text:
      return "text";
    case ConfigType::name:
      return "name";
    case ConfigType::secret:
      return "secret";
    case ConfigType::integer:
      return std::to_string(key.min) + " to " + std::to_string(key.max);
    case ConfigType::ratio:
      return "above 0, at most 1";
    case ConfigType::fraction:
      return "0 to 1";
    case ConfigType::flag:
      return "true, false";
    case ConfigType::choice:
      return std::string(key.choices);
    case ConfigType::log_level:
      return "level";
    case ConfigType::url:
      return "http(s) address";
    case ConfigType::store_url:
      return "sqlite:PATH";
    case ConfigType::cron:
      return "Quartz cron, off";
    case ConfigType::time_zone:
      return "time zone";
  }
  return {};
}

std::string meaning(const ConfigKey& key) {
  std::string text(key.description);
  if (!key.environment.empty()) text += "; also `" + std::string(key.environment) + "`";
  return text;
}

TEST(ConfigurationDocument, SaysOfEveryKeyWhatTheTableSays) {
  const auto rows = documented();
  for (const auto& key : config_keys()) {
    const auto found = rows.find(std::string(key.name));
    const std::string row =
        "| `" + std::string(key.name) + "` | " +
        (key.default_value.empty() ? "–" : "`" + std::string(key.default_value) + "`") + " | " +
        accepted(key) + " | " + meaning(key) + " |";
    ASSERT_NE(found, rows.end()) << "docs/configuration.md lacks\n" << row;
    EXPECT_EQ(found->second.default_value, key.default_value) << row;
    EXPECT_EQ(found->second.accepted, accepted(key)) << row;
    EXPECT_EQ(found->second.meaning, meaning(key)) << row;
  }
  for (const auto& [name, row] : rows) {
    EXPECT_NE(find_config_key(name), nullptr) << name << " is in docs/configuration.md only";
  }
}

}  // namespace
}  // namespace betrace::kms
