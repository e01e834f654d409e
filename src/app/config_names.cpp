#include "app/config_names.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace betrace::kms {
namespace {

constexpr std::string_view prefixes[] = {"betrace.kms.previous.", "betrace.kms.second."};
constexpr std::string_view betrace = "betrace.";
constexpr std::string_view product = "betrace.kms.";
constexpr std::string_view file_suffix = "-file";
constexpr std::string_view category_prefix = "quarkus.log.category.";
constexpr std::string_view category_suffix = ".level";

bool is_category_level(std::string_view text, std::string* category) {
  if (!text.starts_with(category_prefix) || !text.ends_with(category_suffix)) return false;
  if (text.size() <= category_prefix.size() + category_suffix.size()) return false;
  text.remove_prefix(category_prefix.size());
  text.remove_suffix(category_suffix.size());
  if (text.size() > 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
  }
  const bool plain =
      std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7F && c != '"'; });
  if (!plain) return false;
  if (category != nullptr) *category = text;
  return true;
}

const ConfigKey* find_spelling(std::string_view name) {
  if (const auto* key = find_config_key(name)) return key;
  if (name.starts_with("kms.")) return find_config_key(std::string(betrace).append(name));
  if (name.starts_with(product)) return find_config_key(name.substr(betrace.size()));
  return nullptr;
}

const ConfigKey* find_with_file(std::string_view name) {
  if (const auto* key = find_spelling(name)) return key;
  if (!name.ends_with(file_suffix)) return nullptr;
  const auto* key = find_spelling(name.substr(0, name.size() - file_suffix.size()));
  return key != nullptr && key->type == ConfigType::secret ? key : nullptr;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::span<const std::string_view> instance_prefixes() { return prefixes; }

std::vector<std::string> instance_spellings(std::string_view prefix, std::string_view name) {
  std::vector<std::string> all;
  for (const auto& each : spellings(prefix)) {
    all.push_back(each + std::string(name));
    if (name.starts_with(product)) all.push_back(each + std::string(name.substr(product.size())));
  }
  return all;
}

std::vector<std::string> spellings(std::string_view name) {
  std::vector<std::string> all = {std::string(name)};
  if (name.starts_with("kms.")) all.push_back(std::string(betrace).append(name));
  if (name.starts_with(product)) all.emplace_back(name.substr(betrace.size()));
  return all;
}

const ConfigKey* recognise(std::string_view name, std::string* category) {
  if (is_category_level(name, category))
    return find_config_key("quarkus.log.category.\"NAME\".level");
  if (const auto* key = find_with_file(name)) return key;
  for (const auto prefix : prefixes) {
    for (const auto& spelling : spellings(prefix)) {
      if (!name.starts_with(spelling)) continue;
      const auto rest = name.substr(spelling.size());
      const auto* key = find_with_file(rest);
      if (key == nullptr) key = find_with_file(std::string(product).append(rest));
      if (key != nullptr && key->of_provider) return key;
    }
  }
  return nullptr;
}

bool in_our_name_spaces(std::string_view name) {
  static constexpr std::string_view ours[] = {"betrace.", "kms.",    "aws.kms.", "vault.",
                                              "gcp.kms.", "pkcs11.", "quarkus.", "azure.keyvault."};
  const auto is_ours = [](std::string_view text) {
    return std::ranges::any_of(ours, [&](auto start) { return text.starts_with(start); });
  };
  // Under an instance prefix stand the settings of any provider, also of one we do not know.
  for (const auto prefix : prefixes) {
    for (const auto& spelling : spellings(prefix)) {
      if (!name.starts_with(spelling)) continue;
      const auto rest = name.substr(spelling.size());
      return is_ours(rest) || rest.starts_with("local.");
    }
  }
  return is_ours(name);
}

std::string nearest_name(std::string_view unknown) {
  constexpr std::size_t known_bytes_max = 128;
  if (unknown.size() > known_bytes_max) return {};
  std::string nearest;
  std::size_t best = unknown.size() / 4 + 2;  // farther is another word
  const auto consider = [&](std::string candidate) {
    const auto distance = edit_distance(unknown, candidate);
    if (distance >= best) return;
    best = distance;
    nearest = std::move(candidate);
  };
  for (const auto& key : config_keys()) {
    for (const auto& spelling : spellings(key.name)) {
      consider(spelling);
      if (key.type == ConfigType::secret) consider(spelling + std::string(file_suffix));
    }
    if (!key.of_provider) continue;
    for (const auto prefix : prefixes) consider(std::string(prefix).append(key.name));
  }
  return nearest;
}

}  // namespace betrace::kms
