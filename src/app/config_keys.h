// THE TABLE of configuration keys. A new key is a row here and a line in docs/configuration.md (a
// test compares). Immutable.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace betrace::kms {

enum class ConfigType : std::uint8_t {
  text,
  name,  // letters, digits, '-', '_'; read in lower case
  secret,
  integer,
  ratio,  // above 0, at most 1
  flag,
  choice,  // read in lower case
  log_level,
  url,        // http:// or https://
  store_url,  // sqlite:PATH
  cron,
  time_zone,
};

struct ConfigKey {
  std::string_view name;
  ConfigType type = ConfigType::text;
  std::string_view default_value = {};  // may be an expression; empty: none
  std::int64_t min = 0, max = 0;        // of an integer
  std::string_view choices = {};        // "a, b, c"
  std::string_view environment = {};    // a further variable, e.g. ADMIN_TOKEN
  bool available = true;                // false: has no effect in this release yet
  bool of_provider = false;             // also read under the prefix of a further provider
  std::string_view description;
};

std::span<const ConfigKey> config_keys();
// By its name in the table; null when there is none.
const ConfigKey* find_config_key(std::string_view name);

// Under which a further provider reads its settings: "betrace.kms.previous.", "betrace.kms.second."
std::span<const std::string_view> instance_prefixes();

// The names under which `name` is looked up, the best first: any kms.X may also be written
// betrace.kms.X, and the other way round.
std::vector<std::string> spellings(std::string_view name);

// The known name or names that `name` can be meant to be, with what precedes and follows: a key,
// KEY-file of a secret, either under an instance prefix, a log category's level. Null when unknown.
// `category`, when asked for, receives the name inside quarkus.log.category."NAME".level.
const ConfigKey* recognise(std::string_view name, std::string* category = nullptr);

// Whether an unknown name is one that we should know.
bool in_our_name_spaces(std::string_view name);
// The known name that is nearest to a mistyped one; empty when none is near.
std::string nearest_name(std::string_view name);

}  // namespace betrace::kms
