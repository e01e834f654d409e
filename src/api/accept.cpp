#include "api/accept.h"

#include <algorithm>
#include <utility>

namespace betrace::kms {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// Cuts the next element off `list`.
std::string_view next(std::string_view& list, char separator) {
  const auto element = list.substr(0, list.find(separator));
  list.remove_prefix(std::min(element.size() + 1, list.size()));
  return trimmed(element);
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

// "0.75" → 750. What is no weight counts as 1, as if it were not there.
int thousandths(std::string_view weight) {
  if (weight.empty() || (weight[0] != '0' && weight[0] != '1')) return 1000;
  if (weight[0] == '1') return 1000;
  int value = 0;
  int unit = 100;
  for (const char c : weight.substr(std::min<std::size_t>(2, weight.size()))) {
    if (c < '0' || c > '9' || unit == 0) return 1000;
    value += (c - '0') * unit;
    unit /= 10;
  }
  return value;
}

struct Range {
  std::string_view type;
  int weight = 1000;
};

Range parse_range(std::string_view text) {
  Range range{.type = next(text, ';')};
  while (!text.empty()) {
    const auto parameter = next(text, ';');
    if (parameter.size() > 2 && (parameter[0] == 'q' || parameter[0] == 'Q') &&
        parameter[1] == '=') {
      range.weight = thousandths(parameter.substr(2));
    }
  }
  return range;
}

// 3 for the type itself, 2 for "text/*", 1 for "*/*", 0 for another one.
int closeness(std::string_view range, std::string_view type) {
  if (range == "*/*" || range == "*") return 1;
  if (equal_ignoring_case(range, type)) return 3;
  if (!range.ends_with("/*")) return 0;
  const auto family = range.substr(0, range.size() - 1);
  return equal_ignoring_case(family, type.substr(0, family.size())) ? 2 : 0;
}

struct Match {
  int weight = 0, closeness = 0;
};

// The closest range decides about a type.
Match match(std::string_view accept, std::string_view type) {
  Match found;
  while (!accept.empty()) {
    const auto range = parse_range(next(accept, ','));
    const int close = closeness(range.type, type);
    if (close > found.closeness) found = {.weight = range.weight, .closeness = close};
  }
  return found;
}

}  // namespace

std::optional<std::size_t> preferred_type(std::string_view accept,
                                          std::span<const std::string_view> offered) {
  if (trimmed(accept).empty()) return 0;
  std::optional<std::size_t> best;
  Match best_match;
  for (std::size_t i = 0; i < offered.size(); ++i) {
    const auto each = match(accept, offered[i]);
    if (each.weight == 0) continue;
    const bool better =
        std::pair(each.weight, each.closeness) > std::pair(best_match.weight, best_match.closeness);
    if (best && !better) continue;
    best = i;
    best_match = each;
  }
  return best;
}

}  // namespace betrace::kms
