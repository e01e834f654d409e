// The query of a request: parameters by name, their values percent-decoded. Of parameters given
// twice the last counts; those that a route does not know are ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/result.h"

namespace betrace::kms {

inline constexpr std::size_t page_limit_default = 100;
inline constexpr std::size_t page_limit_max = 1000;

class QueryString {
 public:
  // Errors: invalid_argument for a broken %-escape.
  static Result<QueryString> read(std::string_view text);

  std::optional<std::string_view> find(std::string_view name) const;
  // "true" or "false"; absent is false. Errors: invalid_argument for anything else.
  Result<bool> flag(std::string_view name) const;
  // Errors: invalid_argument when it is no decimal number of 64 bits.
  Result<std::optional<std::uint64_t>> number(std::string_view name) const;
  // `limit` of a page. Errors: invalid_argument.
  Result<std::size_t> page_limit() const;

 private:
  struct Parameter {
    std::string_view name;
    std::string value;
  };
  std::vector<Parameter> parameters_;
};

}  // namespace betrace::kms
