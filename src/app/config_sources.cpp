#include "app/config_sources.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "app/config_names.h"
#include "app/config_values.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

constexpr int override_rank = 0, environment_rank = 1, file_rank = 2;
constexpr std::size_t file_bytes_max = 1 << 20;
constexpr std::size_t expression_depth_max = 32;
constexpr std::size_t expanded_bytes_max = 1 << 16;

Result<WipedString> read_text(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return fail(ErrorCode::invalid_argument, "it is a directory");
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(ErrorCode::invalid_argument, std::strerror(errno));
  WipedString text(file_bytes_max + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return fail(ErrorCode::invalid_argument, std::strerror(errno));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > file_bytes_max) {
    return fail(ErrorCode::invalid_argument, fmt::format("larger than {} bytes", file_bytes_max));
  }
  return text;
}

std::string file_source(const std::string& file, int line) {
  return fmt::format("{}:{}", file, line);
}

// The index of the '}' that closes an expression whose content begins at `from`.
std::size_t closing_brace(std::string_view text, std::size_t from) {
  int depth = 1;
  for (std::size_t i = from; i < text.size(); ++i) {
    if (text.substr(i).starts_with("\\${")) {
      i += 2;
    } else if (text.substr(i).starts_with("${")) {
      ++depth;
      ++i;
    } else if (text[i] == '}' && --depth == 0) {
      return i;
    }
  }
  return std::string_view::npos;
}

// The index of the ':' between name and default, or npos.
std::size_t default_separator(std::string_view expression) {
  for (std::size_t i = 0; i < expression.size(); ++i) {
    if (expression[i] == ':') return i;
    if (!expression.substr(i).starts_with("${")) continue;
    const auto end = closing_brace(expression, i + 2);
    if (end == std::string_view::npos) return end;
    i = end;
  }
  return std::string_view::npos;
}

}  // namespace

std::vector<std::string> environment_names(const std::string& name) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto is_lower = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto is_upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  std::string sanitised = name, upper;
  for (char& c : sanitised) {
    if (!is_digit(c) && !is_lower(c) && !is_upper(c)) c = '_';
    upper += is_lower(c) ? static_cast<char>(c - 32) : c;
  }
  return {name, sanitised, upper};
}

Result<ConfigSources> ConfigSources::open(const ConfigInputs& inputs,
                                          std::vector<std::string>& warnings) {
  ConfigSources sources;
  sources.overrides_ = inputs.overrides;
  sources.overrides_name_ = inputs.overrides_name;
  sources.environment_ = inputs.environment;
  for (const auto& [name, value] : inputs.overrides) {
    sources.names_.push_back({name, inputs.overrides_name, override_rank});
  }
  TRY(sources.read_file(inputs, warnings));
  return sources;
}

Status ConfigSources::read_file(const ConfigInputs& inputs, std::vector<std::string>& warnings) {
  if (inputs.file) {
    file_ = *inputs.file;
  } else {
    // What exists and cannot be read is an error: to go on with defaults would hide the mistake.
    const auto exists = [](const std::string& path) {
      std::error_code error;
      const auto status = std::filesystem::status(path, error);
      return status.type() != std::filesystem::file_type::not_found &&
             status.type() != std::filesystem::file_type::directory;
    };
    const auto found = std::ranges::find_if(inputs.search_paths, exists);
    if (found == inputs.search_paths.end()) return {};
    file_ = *found;
  }
  const auto text = read_text(file_);
  if (!text) {
    auto message =
        fmt::format("cannot read configuration file '{}': {}", file_, text.error().message);
    if (inputs.file || !inputs.lenient) return fail(ErrorCode::invalid_argument, message);
    warnings.push_back(std::move(message));
    file_.clear();
    return {};
  }
  auto properties = parse_properties(*text);
  if (!properties) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: {}", file_, properties.error().message));
  }
  for (auto& property : *properties) {
    const auto before = properties_.find(property.key);
    if (before != properties_.end() &&
        (recognise(property.key) != nullptr || in_our_name_spaces(property.key))) {
      warnings.push_back(fmt::format("{} is set twice: {} replaces line {}",
                                     shown_name(property.key), file_source(file_, property.line),
                                     before->second.line));
    }
    names_.push_back(
        {property.key, file_source(file_, property.line), file_rank, property.comment_cut});
    auto key = property.key;
    properties_.insert_or_assign(std::move(key), std::move(property));
  }
  return {};
}

std::optional<SourcedValue> ConfigSources::environment(const std::string& name) const {
  if (!environment_) return std::nullopt;
  for (const auto& variable : environment_names(name)) {
    auto value = environment_(variable);
    if (value && !value->empty()) {
      return SourcedValue{*std::move(value), "environment " + variable, environment_rank};
    }
  }
  return std::nullopt;
}

std::optional<SourcedValue> ConfigSources::look_up(int rank, const std::string& name) const {
  switch (rank) {
    case override_rank:
      if (const auto found = overrides_.find(name); found != overrides_.end()) {
        return SourcedValue{found->second, overrides_name_, rank};
      }
      return std::nullopt;
    case environment_rank:
      return environment(name);
    default:
      if (const auto found = properties_.find(name); found != properties_.end()) {
        return SourcedValue{found->second.value, file_source(file_, found->second.line), rank};
      }
      return std::nullopt;
  }
}

Result<std::optional<SourcedValue>> ConfigSources::find(
    std::span<const std::string> names, std::span<const std::string> variables) const {
  std::vector<std::string> open_names;
  return find(names, variables, open_names);
}

Result<std::optional<SourcedValue>> ConfigSources::find(
    std::span<const std::string> names, std::span<const std::string> variables,
    std::vector<std::string>& open_names) const {
  for (const int rank : {override_rank, environment_rank, file_rank}) {
    std::vector<std::string> asked(names.begin(), names.end());
    if (rank == environment_rank) asked.insert(asked.end(), variables.begin(), variables.end());
    for (const auto& name : asked) {
      auto value = look_up(rank, name);
      if (!value || value->text.empty()) continue;
      auto expanded = expand(value->text, open_names);
      if (!expanded) {
        return fail(ErrorCode::invalid_argument,
                    fmt::format("({}): {}", value->source, expanded.error().message));
      }
      value->text = *std::move(expanded);
      if (!value->text.empty()) return value;
    }
  }
  return std::nullopt;
}

Result<std::string> ConfigSources::expand(std::string_view text) const {
  std::vector<std::string> open_names;
  return expand(text, open_names);
}

Result<std::string> ConfigSources::expand(std::string_view text,
                                          std::vector<std::string>& open_names) const {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto rest = text.substr(i);
    if (rest.starts_with("\\${")) {
      out += "${";
      i += 2;
    } else if (rest.starts_with("${")) {
      const auto end = closing_brace(text, i + 2);
      if (end == std::string_view::npos) {
        return fail(ErrorCode::invalid_argument,
                    "an expression ${… is not closed; \\${ stands for a plain ${");
      }
      out += TRY(evaluate(text.substr(i + 2, end - i - 2), open_names));
      i = end;
    } else {
      out += text[i];
    }
    if (out.size() > expanded_bytes_max) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("its expressions expand to more than {} bytes", expanded_bytes_max));
    }
  }
  return out;
}

Result<std::string> ConfigSources::evaluate(std::string_view expression,
                                            std::vector<std::string>& open_names) const {
  const auto separator = default_separator(expression);
  const auto name = TRY(expand(expression.substr(0, separator), open_names));
  if (std::ranges::find(open_names, name) != open_names.end() ||
      open_names.size() >= expression_depth_max) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the expression ${{{}}} refers to itself", shown_name(name)));
  }
  open_names.push_back(name);
  const ConfigKey* key = recognise(name);
  const auto names = spellings(name);
  std::vector<std::string> variables;
  if (key != nullptr && !key->environment.empty()) variables.emplace_back(key->environment);
  auto value = TRY(find(names, variables, open_names));
  std::string text;
  if (value) {
    text = std::move(value->text);
  } else if (separator != std::string_view::npos) {
    text = TRY(expand(expression.substr(separator + 1), open_names));
  } else if (key != nullptr && !key->default_value.empty()) {
    text = TRY(expand(key->default_value, open_names));
  } else {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the expression ${{{0}}} has no value; set {0}, or write a default as "
                            "in ${{{0}:default}}",
                            shown_name(name)));
  }
  open_names.pop_back();
  return text;
}

void ConfigSources::forget(std::string_view name) {
  const std::string key(name);
  if (const auto found = overrides_.find(key); found != overrides_.end()) {
    wipe(found->second.data(), found->second.size());
    found->second.clear();
  }
  if (const auto found = properties_.find(key); found != properties_.end()) {
    wipe(found->second.value.data(), found->second.value.size());
    found->second.value.clear();
  }
}

}  // namespace betrace::kms
