#include "app/config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "app/config_keys.h"
#include "app/config_names.h"
#include "app/config_secrets.h"
#include "app/config_sources.h"
#include "app/config_values.h"
#include "base/encoding.h"
#include "base/try.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::string_view file_suffix = "-file";

struct Value {
  const ConfigKey* key = nullptr;
  std::string text;    // in its one form; empty for a secret
  SecretBytes secret;  // of a secret
  std::string source;
  bool set = false;  // by somebody
};

std::vector<std::string> with_suffix(std::vector<std::string> names, std::string_view suffix) {
  for (auto& name : names) name.append(suffix);
  return names;
}

void append_line(std::string& lines, std::string_view line) {
  if (!lines.empty()) lines += '\n';
  lines += line;
}

}  // namespace

struct Config::State {
  explicit State(ConfigSources opened) : sources(std::move(opened)) {}

  ConfigSources sources;
  std::map<std::string, Value, std::less<>> values;        // by name, also under an instance prefix
  std::map<std::string, std::string, std::less<>> others;  // of keys that are not in the table
  std::map<std::string, std::string> category_levels;
  std::map<std::string, std::string> category_sources;
  std::vector<std::string> warnings;
  std::string errors;  // one a line
  bool lenient = false;

  void load_key(const ConfigKey& key, const std::string& name,
                const std::vector<std::string>& names, bool of_instance);
  void load_secret(const ConfigKey& key, const std::string& name,
                   const std::vector<std::string>& names);
  void load_secret_file(const ConfigKey& key, const std::string& name, const SourcedValue& path);
  void load_categories();
  void load_others();
  void check_together();
  void warn_of_names();
  void warn_of_name(const SourcedName& each, std::set<std::string>& seen);
  void forget_secrets();

  const Value& at(std::string_view name) const;
  std::optional<std::string> provider_setting(const std::string& prefix,
                                              std::string_view name) const;
  void refuse(const ConfigKey& key, std::string_view name, std::string_view value,
              std::string_view source, std::string_view expected) {
    append_line(errors, fmt::format("{}='{}' ({}): accepted is {}", name, shown_value(key, value),
                                    source, expected));
  }
};

void Config::State::load_key(const ConfigKey& key, const std::string& name,
                             const std::vector<std::string>& names, bool of_instance) {
  if (key.type == ConfigType::secret) return load_secret(key, name, names);
  std::vector<std::string> variables;
  if (!of_instance && !key.environment.empty()) variables.emplace_back(key.environment);
  auto found = sources.find(names, variables);
  if (!found) return append_line(errors, name + " " + found.error().message);
  Value value{.key = &key};
  if (*found) {
    value.text = std::move((*found)->text);
    value.source = std::move((*found)->source);
    value.set = true;
  } else if (of_instance) {
    return;
  } else {
    auto text = sources.expand(key.default_value);
    if (!text) return append_line(errors, name + " (default): " + text.error().message);
    value.text = *std::move(text);
    value.source = value.text.empty() ? "" : "default";
  }
  if (!value.source.empty()) {
    if (const auto expected = refuse_value(key, value.text)) {
      refuse(key, name, value.text, value.source, *expected);
    }
  }
  values.insert_or_assign(name, std::move(value));
}

void Config::State::load_secret(const ConfigKey& key, const std::string& name,
                                const std::vector<std::string>& names) {
  std::vector<std::string> variables, file_variables;
  if (!key.environment.empty() && name == key.name) {
    variables.emplace_back(key.environment);
    file_variables.push_back(std::string(key.environment) + "_FILE");
  }
  auto direct = sources.find(names, variables);
  auto path = sources.find(with_suffix(names, file_suffix), file_variables);
  if (!direct) {
    // The message of the look-up may quote a part of the secret.
    append_line(errors, fmt::format("{}='****': an expression ${{…}} in it has no value; \\${{ "
                                    "stands for a plain ${{",
                                    name));
    return;
  }
  if (!path) return append_line(errors, name + "-file " + path.error().message);
  if (*direct && *path && (*direct)->rank == (*path)->rank) {
    warnings.push_back(fmt::format("{0} and {0}-file are both set ({1}, {2}): the file is ignored",
                                   name, (*direct)->source, (*path)->source));
  }
  if (*path && (!*direct || (*path)->rank < (*direct)->rank)) {
    return load_secret_file(key, name, **path);
  }
  Value value{.key = &key};
  if (*direct) {
    auto& text = (*direct)->text;
    value.source = (*direct)->source;
    value.set = true;
    if (const auto expected = refuse_value(key, text)) {
      refuse(key, name, {}, value.source, *expected);
    }
    value.secret = SecretBytes::copy_of(as_bytes(text));
    wipe(text.data(), text.size());
  } else if (name != key.name) {
    return;
  }
  values.insert_or_assign(name, std::move(value));
}

void Config::State::load_secret_file(const ConfigKey& key, const std::string& name,
                                     const SourcedValue& path) {
  Value value{.key = &key,
              .source = fmt::format("{} ({})", shown_name(path.text), path.source),
              .set = true};
  auto secret = read_secret_file(path.text, warnings);
  if (!secret) {
    auto line = fmt::format("{}-file='{}' ({}): {}; accepted is a file with one line", name,
                            shown_name(path.text), path.source, secret.error().message);
    if (!lenient) return append_line(errors, line);
    warnings.push_back(std::move(line));
    value.set = false;
  } else {
    value.secret = *std::move(secret);
  }
  values.insert_or_assign(name, std::move(value));
}

void Config::State::load_categories() {
  const auto* key = find_config_key("quarkus.log.category.\"NAME\".level");
  std::map<std::string, std::set<std::string>> asked;
  // The environment cannot be searched for names; these are the ones that we log to.
  for (const auto known : {log_category::kms, log_category::audit, log_category::rotation,
                           log_category::retrieval, log_category::aws_sdk}) {
    asked[std::string(known)];
  }
  for (const auto& each : sources.names()) {
    std::string category;
    if (recognise(each.name, &category) == key) asked[category].insert(each.name);
  }
  for (const auto& [category, written] : asked) {
    const auto name = fmt::format("quarkus.log.category.\"{}\".level", shown_name(category));
    std::vector<std::string> names = {name};
    names.insert(names.end(), written.begin(), written.end());
    auto found = sources.find(names);
    if (!found) {
      append_line(errors, name + " " + found.error().message);
    } else if (*found) {
      if (const auto expected = refuse_value(*key, (*found)->text)) {
        refuse(*key, name, (*found)->text, (*found)->source, *expected);
      }
      category_levels[category] = (*found)->text;
      category_sources[category] = (*found)->source;
    }
  }
}

void Config::State::load_others() {
  for (const auto& each : sources.names()) {
    if (recognise(each.name) != nullptr) continue;
    const std::string names[] = {each.name};
    // One that cannot be expanded belongs to somebody else, or is missed by whoever asks for it.
    auto found = sources.find(names);
    if (found && *found) others[each.name] = std::move((*found)->text);
  }
}

// What only two values together can get wrong.
void Config::State::check_together() {
  const auto& certificate = at("quarkus.http.ssl.certificate.files");
  const auto& certificate_key = at("quarkus.http.ssl.certificate.key-files");
  if (certificate.set != certificate_key.set) {
    const auto& lone = certificate.set ? certificate : certificate_key;
    const auto& missing = certificate.set ? certificate_key : certificate;
    append_line(errors,
                fmt::format("{}='{}' ({}): accepted is this together with {}", lone.key->name,
                            shown_value(*lone.key, lone.text), lone.source, missing.key->name));
  }
  const bool tls = certificate.set && certificate_key.set;
  const auto& insecure = at("quarkus.http.insecure-requests");
  if (!tls && insecure.text != "enabled") {
    refuse(*insecure.key, insecure.key->name, insecure.text, insecure.source,
           "enabled, while quarkus.http.ssl.certificate.files is not set");
  }
}

void Config::State::warn_of_names() {
  std::set<std::string> seen;
  for (const auto& each : sources.names()) warn_of_name(each, seen);
}

void Config::State::warn_of_name(const SourcedName& each, std::set<std::string>& seen) {
  if (each.name.starts_with('%')) {
    const auto dot = each.name.find('.');
    const auto plain = dot == std::string::npos ? std::string() : each.name.substr(dot + 1);
    if (recognise(plain) != nullptr || in_our_name_spaces(plain)) {
      warnings.push_back(fmt::format("{} ({}) has no effect: there are no profiles; write {}",
                                     shown_name(each.name), each.source, shown_name(plain)));
    }
    return;
  }
  const auto* key = recognise(each.name);
  const bool ours = key != nullptr || in_our_name_spaces(each.name);
  if (ours && each.comment_cut) {
    warnings.push_back(fmt::format(
        "{}: the comment behind the value of {} is ignored; comments belong on lines of their own, "
        "and \\# stands for a plain #",
        each.source, shown_name(each.name)));
  }
  if (key == nullptr && ours && seen.insert(each.name).second) {
    const auto nearest = nearest_name(each.name);
    warnings.push_back(fmt::format("{}{} ({}){}", unknown_key_warning, shown_name(each.name),
                                   each.source,
                                   nearest.empty() ? "" : "; did you mean " + nearest + "?"));
  }
  if (key == nullptr || key->name == each.name) return;
  const bool both = std::ranges::any_of(sources.names(), [&](const SourcedName& other) {
    return other.name == key->name && other.rank == each.rank;
  });
  const bool same_key = std::ranges::count(spellings(key->name), each.name) != 0;
  if (both && same_key) {
    warnings.push_back(
        fmt::format("{} ({}) is ignored: {} is set too", each.name, each.source, key->name));
  }
}

void Config::State::forget_secrets() {
  const auto names = sources.names();
  for (const auto& each : names) {
    const auto* key = recognise(each.name);
    if (key != nullptr && key->type == ConfigType::secret && !each.name.ends_with(file_suffix)) {
      sources.forget(each.name);
    }
  }
}

const Value& Config::State::at(std::string_view name) const {
  const auto found = values.find(name);
  if (found == values.end()) {
    fmt::print(stderr, "betrace-kms: '{}' is not a configuration key\n", name);
    std::abort();
  }
  return found->second;
}

std::optional<std::string> Config::State::provider_setting(const std::string& prefix,
                                                           std::string_view name) const {
  const auto* key = find_config_key(name);
  if (key == nullptr) {
    const auto full = prefix + std::string(name);
    if (const auto found = others.find(full); found != others.end()) return found->second;
    const std::string names[] = {full};
    auto found = sources.find(names);
    if (!found || !*found) return std::nullopt;
    return std::move((*found)->text);
  }
  auto found = values.find(prefix + std::string(name));
  if (found == values.end()) found = values.find(name);
  const Value& value = found->second;
  const bool inherited = !prefix.empty() && found->first == name;
  if (inherited && value.set && key->of_provider) {
    // An instance shares the defaults of the first one, never its settings.
    auto text = sources.expand(key->default_value);
    if (!text || text->empty() || key->provider_decides) return std::nullopt;
    return *std::move(text);
  }
  if (key->type == ConfigType::secret) {
    if (value.secret.empty()) return std::nullopt;
    return std::string(as_text(value.secret.expose()));
  }
  if (value.text.empty() || (!value.set && key->provider_decides)) return std::nullopt;
  return value.text;
}

ConfigInputs ConfigInputs::of_program() {
  ConfigInputs inputs;
  inputs.environment = [](std::string_view name) -> std::optional<std::string> {
    const char* value = std::getenv(std::string(name).c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  };
  inputs.search_paths = {"./application.properties", "./config/application.properties",
                         "/etc/betrace/application.properties",
                         "/opt/betrace/application.properties"};
  return inputs;
}

Result<Config> Config::load(const ConfigInputs& inputs) {
  std::vector<std::string> warnings;
  auto state = std::make_shared<State>(TRY(ConfigSources::open(inputs, warnings)));
  state->warnings = std::move(warnings);
  state->lenient = inputs.lenient;
  for (const auto& key : config_keys()) {
    if (key.name.find('"') != std::string_view::npos) continue;
    const std::string name(key.name);
    state->load_key(key, name, spellings(name), false);
    if (!key.of_provider) continue;
    for (const auto prefix : instance_prefixes()) {
      state->load_key(key, std::string(prefix) + name, instance_spellings(prefix, name), true);
    }
  }
  state->load_categories();
  state->load_others();
  if (state->errors.empty()) state->check_together();
  if (!state->errors.empty()) return fail(ErrorCode::invalid_argument, state->errors);
  state->warn_of_names();
  state->forget_secrets();
  return Config(std::move(state));
}

std::optional<std::string> Config::get(std::string_view key) const {
  const Value& value = state_->at(key);
  if (value.text.empty()) return std::nullopt;
  return value.text;
}

std::string Config::text(std::string_view key) const { return state_->at(key).text; }

std::int64_t Config::integer(std::string_view key) const {
  const std::string& text = state_->at(key).text;
  std::int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) std::abort();
  return number;
}

double Config::ratio(std::string_view key) const {
  const std::string& text = state_->at(key).text;
  double number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) std::abort();
  return number;
}

bool Config::flag(std::string_view key) const {
  const Value& value = state_->at(key);
  if (value.key->type != ConfigType::flag) std::abort();
  return value.text == "true";
}

SecretBytes Config::secret(std::string_view key) const {
  return SecretBytes::copy_of(state_->at(key).secret.expose());
}

bool Config::is_set(std::string_view key) const { return state_->at(key).set; }

Settings Config::settings(std::string prefix) const {
  return [state = state_, prefix = std::move(prefix)](std::string_view key) {
    return state->provider_setting(prefix, key);
  };
}

const std::map<std::string, std::string>& Config::log_category_levels() const {
  return state_->category_levels;
}
const std::vector<std::string>& Config::warnings() const { return state_->warnings; }
const std::string& Config::file_used() const { return state_->sources.file_used(); }

std::vector<ConfigEntry> Config::entries() const {
  std::vector<ConfigEntry> all;
  for (const auto& [name, value] : state_->values) {
    ConfigEntry entry{.key = name, .source = value.source};
    const bool filled = !value.text.empty() || !value.secret.empty();
    if (filled) entry.value = shown_value(*value.key, value.text);
    all.push_back(std::move(entry));
  }
  for (const auto& [category, level] : state_->category_levels) {
    all.push_back({.key = fmt::format("quarkus.log.category.\"{}\".level", category),
                   .value = level,
                   .source = state_->category_sources.at(category)});
  }
  std::ranges::sort(all, {}, &ConfigEntry::key);
  return all;
}

}  // namespace betrace::kms
