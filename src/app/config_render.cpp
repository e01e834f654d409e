#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "app/config.h"
#include "app/config_values.h"
#include "base/canonical_json.h"

namespace betrace::kms {
namespace {

std::string render_text(const Config& config) {
  const auto entries = config.entries();
  std::size_t width = 0;
  for (const auto& entry : entries) {
    const auto size = entry.key.size() + entry.value.value_or("").size() + 1;
    if (entry.value && size <= 72) width = std::max(width, size);
  }
  std::string out = config.file_used().empty()
                        ? "# no configuration file\n"
                        : fmt::format("# configuration file: {}\n", config.file_used());
  for (const auto& entry : entries) {
    if (!entry.value) continue;
    fmt::format_to(std::back_inserter(out), "{:<{}}  # {}\n", entry.key + "=" + *entry.value, width,
                   entry.source);
  }
  return out;
}

void append_member(std::string_view name, std::string_view text, std::string& out) {
  append_json_string(name, out);
  out += ':';
  append_json_string(text, out);
}

std::string render_json(const Config& config) {
  std::string out = "{";
  if (config.file_used().empty()) {
    out += "\"file\":null";
  } else {
    append_member("file", shown_name(config.file_used()), out);
  }
  out += ",\"entries\":[";
  bool first = true;
  for (const auto& entry : config.entries()) {
    out += first ? "\n{" : ",\n{";
    first = false;
    append_member("key", entry.key, out);
    out += ",\"value\":";
    if (entry.value) {
      append_json_string(*entry.value, out);
    } else {
      out += "null";
    }
    out += ",\"source\":";
    if (entry.source.empty()) {
      out += "null";
    } else {
      append_json_string(entry.source, out);
    }
    out += '}';
  }
  out += "],\"warnings\":[";
  first = true;
  for (const auto& warning : config.warnings()) {
    if (!first) out += ',';
    first = false;
    append_json_string(warning, out);
  }
  out += "]}\n";
  return out;
}

}  // namespace

std::string render_config(const Config& config, bool json) {
  return json ? render_json(config) : render_text(config);
}

}  // namespace betrace::kms
