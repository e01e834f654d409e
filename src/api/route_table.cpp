#include <array>
#include <cstdint>
#include <string>

#include "api/route.h"

namespace betrace::kms {
namespace {

constexpr std::size_t segments_max = 8;

struct Segments {
  std::array<std::string_view, segments_max> at;
  std::size_t count = 0;
};

// "/a//b" has three segments, the second of them empty. False for what no route can match.
bool split(std::string_view path, Segments& out) {
  if (!path.starts_with('/')) return false;
  path.remove_prefix(1);
  for (;;) {
    if (out.count == segments_max) return false;
    const auto slash = path.find('/');
    out.at[out.count++] = path.substr(0, slash);
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

bool is_parameter(std::string_view segment) { return segment.starts_with('{'); }

}  // namespace

RouteTable::RouteTable(std::span<const Route> rows) : rows_(rows) {
  for (const auto& row : rows) {
    Segments segments;
    split(row.pattern, segments);
    compiled_.push_back({{segments.at.begin(), segments.at.begin() + segments.count}});
  }
}

RouteTable::Match RouteTable::find(std::string_view method, std::string_view path) const {
  Match match;
  Segments segments;
  if (!split(path, segments)) return match;
  if (method == "HEAD") method = "GET";
  for (std::size_t row = 0; row < rows_.size(); ++row) {
    const auto& pattern = compiled_[row].segments;
    if (pattern.size() != segments.count) continue;
    // Back to front: rows differ in their last segments.
    std::size_t left = pattern.size();
    while (left > 0 &&
           (is_parameter(pattern[left - 1]) || pattern[left - 1] == segments.at[left - 1])) {
      --left;
    }
    if (left > 0) continue;
    match.path_exists = true;
    if (rows_[row].method != method) continue;
    match.route = &rows_[row];
    for (std::size_t i = 0; i < pattern.size(); ++i) {
      if (pattern[i] == "{id}") match.id = segments.at[i];
      if (pattern[i] == "{keyId}") match.key_id = segments.at[i];
    }
    return match;
  }
  return match;
}

std::string RouteTable::allowed_methods(std::string_view path) const {
  std::string methods;
  for (const auto* method : {"GET", "POST", "PUT", "DELETE"}) {
    if (!find(method, path).route) continue;
    if (!methods.empty()) methods += ", ";
    methods += method;
  }
  return methods;
}

}  // namespace betrace::kms
