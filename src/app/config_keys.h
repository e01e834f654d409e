// THE TABLE of configuration keys. A new key is a row here and a line in docs/configuration.md (a
// test compares). Immutable.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace betrace::kms {

enum class ConfigType : std::uint8_t {
  text,
  name,  // letters, digits, '-', '_'; read in lower case
  secret,
  integer,
  ratio,     // above 0, at most 1
  fraction,  // from 0 to 1
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
  bool of_provider = false;             // also read under the prefix of a further provider
  // While it is unset, the provider looks further (the profile's region) before it takes the
  // default.
  bool provider_decides = false;
  std::string_view description;
};

std::span<const ConfigKey> config_keys();
// Those of them that are about compliance spans.
std::span<const ConfigKey> evidence_config_keys();
// By its name in the table; null when there is none.
const ConfigKey* find_config_key(std::string_view name);

}  // namespace betrace::kms
