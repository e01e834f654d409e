// The configuration: application.properties in Java syntax, the environment by MicroProfile's
// rules, -Dname=value before both. Every value is checked when it is loaded, so that a getter
// cannot fail. A Config is immutable, cheap to copy, and Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/provider.h"
#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

// What a warning of a key that nobody knows begins with.
inline constexpr std::string_view unknown_key_warning = "unknown configuration key ";

struct ConfigInputs {
  std::map<std::string, std::string> overrides;  // -Dname=value, or the settings of a library user
  std::string overrides_name = "-D";             // how messages call them
  std::function<std::optional<std::string>(std::string_view)> environment;  // empty: none is read
  std::optional<std::string> file;                                          // must exist
  std::vector<std::string> search_paths;  // without `file`: the first that exists
  // For client commands, which need little: files that cannot be read are warnings.
  bool lenient = false;

  // What the program reads: the environment of the process and the usual places.
  static ConfigInputs of_program();
};

struct ConfigEntry {
  std::string key;
  std::optional<std::string> value;  // "****" for a secret; nothing when unset
  std::string source;  // "./application.properties:12", "environment VAULT_ADDR", "-D", "default"
};

class Config {
 public:
  // Errors: invalid_argument; the message has one line for each mistake.
  static Result<Config> load(const ConfigInputs& inputs);

  // By the name in the table, e.g. "kms.cache.max-size". Asking for a key that is not in the
  // table, or by the getter of another type, is a programming error and ends the program.
  std::optional<std::string> get(std::string_view key) const;  // not for secrets
  std::string text(std::string_view key) const;                // empty when unset
  std::int64_t integer(std::string_view key) const;
  double ratio(std::string_view key) const;
  bool flag(std::string_view key) const;
  // Empty when unset. The value, or the content of KEY-file without its line end.
  SecretBytes secret(std::string_view key) const;
  // Whether anybody set it, i.e. it is not the default.
  bool is_set(std::string_view key) const;

  // For a provider's factory: every key, also such as are not in the table. With a prefix, e.g.
  // "betrace.kms.second.", the settings of that instance. Keeps the configuration alive.
  Settings settings(std::string prefix = {}) const;

  const std::map<std::string, std::string>& log_category_levels() const;
  const std::vector<std::string>& warnings() const;  // one line each, to be logged as WARN
  const std::string& file_used() const;              // empty: none
  std::vector<ConfigEntry> entries() const;

 private:
  struct State;
  explicit Config(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

// What `betrace-kms config` prints: each value with its source, secrets masked.
std::string render_config(const Config& config, bool json);

}  // namespace betrace::kms
