#include "api/query.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/encoding.h"

namespace betrace::kms {

Result<QueryString> QueryString::read(std::string_view text) {
  QueryString query;
  while (!text.empty()) {
    const auto pair = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    const auto equals = std::min(pair.find('='), pair.size());
    auto value = percent_decode(pair.substr(std::min(equals + 1, pair.size())));
    if (!value) return fail(ErrorCode::invalid_argument, "the query has a broken %-escape");
    query.parameters_.push_back({.name = pair.substr(0, equals), .value = *std::move(value)});
  }
  return query;
}

std::optional<std::string_view> QueryString::find(std::string_view name) const {
  for (auto each = parameters_.rbegin(); each != parameters_.rend(); ++each) {
    if (each->name == name) return each->value;
  }
  return std::nullopt;
}

Result<bool> QueryString::flag(std::string_view name) const {
  const auto value = find(name);
  if (!value || *value == "false") return false;
  if (*value == "true") return true;
  return fail(ErrorCode::invalid_argument,
              fmt::format("'{}' is '{}'; it is true or false", name, value->substr(0, 32)));
}

Result<std::optional<std::uint64_t>> QueryString::number(std::string_view name) const {
  const auto value = find(name);
  if (!value) return std::nullopt;
  std::uint64_t number = 0;
  const std::string_view digits(*value);
  const auto [stopped, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error == std::errc() && stopped == digits.data() + digits.size()) return number;
  return fail(ErrorCode::invalid_argument,
              fmt::format("'{}' is '{}'; it is a whole number", name, value->substr(0, 32)));
}

Result<std::size_t> QueryString::page_limit() const {
  const auto value = find("limit");
  if (!value) return page_limit_default;
  std::size_t limit = 0;
  const std::string_view digits(*value);
  const auto [stopped, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), limit);
  if (error != std::errc() || stopped != digits.data() + digits.size() || limit < 1 ||
      limit > page_limit_max) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("'limit' is '{}'; it is a number from 1 to {}", value->substr(0, 32),
                            page_limit_max));
  }
  return limit;
}

}  // namespace betrace::kms
