// Where configuration values come from, in their order: overrides, environment, file. Looks names
// up and expands ${NAME:default} expressions; knows nothing of what a value means. Thread-safe once
// opened, as far as the environment function is.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/result.h"

#include "app/config.h"
#include "app/properties.h"

namespace betrace::kms {

struct SourcedValue {
  std::string text;
  std::string source;  // "-D", "environment VAULT_ADDR", "./application.properties:12"
  int rank = 0;        // lower wins
};

// A name as somebody wrote it in the overrides or in the file.
struct SourcedName {
  std::string name;
  std::string source;
  int rank = 0;  // lower wins
  bool comment_cut = false;
};

class ConfigSources {
 public:
  // Reads the file. Errors: invalid_argument names the file.
  static Result<ConfigSources> open(const ConfigInputs& inputs, std::vector<std::string>& warnings);

  // The best value that any of `names` has, expressions expanded; what is empty counts as absent.
  // `variables`: further environment variables, asked last of the environment. Errors:
  // invalid_argument; the message begins with the source and never holds the value.
  Result<std::optional<SourcedValue>> find(std::span<const std::string> names,
                                           std::span<const std::string> variables = {}) const;
  // Errors: as find().
  Result<std::string> expand(std::string_view text) const;

  // In the order of the sources.
  const std::vector<SourcedName>& names() const { return names_; }
  const std::string& file_used() const { return file_; }

  // Overwrites the values of `name`, which are kept elsewhere.
  void forget(std::string_view name);

 private:
  Status read_file(const ConfigInputs& inputs, std::vector<std::string>& warnings);
  std::optional<SourcedValue> look_up(int rank, const std::string& name) const;
  std::optional<SourcedValue> environment(const std::string& name) const;
  Result<std::string> expand(std::string_view text, std::vector<std::string>& open_names) const;
  Result<std::string> evaluate(std::string_view expression,
                               std::vector<std::string>& open_names) const;
  Result<std::optional<SourcedValue>> find(std::span<const std::string> names,
                                           std::span<const std::string> variables,
                                           std::vector<std::string>& open_names) const;

  std::map<std::string, std::string> overrides_;
  std::string overrides_name_;
  std::function<std::optional<std::string>(std::string_view)> environment_;
  std::string file_;
  std::map<std::string, Property> properties_;
  std::vector<SourcedName> names_;
};

// MicroProfile's: the name, every character outside [A-Za-z0-9_] as '_', that in upper case.
std::vector<std::string> environment_names(const std::string& name);

}  // namespace betrace::kms
