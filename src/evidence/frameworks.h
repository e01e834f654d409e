// The controls of the frameworks that compliance spans speak of, and those a user adds. Immutable,
// thus thread-safe.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/result.h"

namespace betrace::kms {

// Lower case, each run of separators (`._- ()/`) one dot, none at the ends: "164.312(a)(1)" is
// "164.312.a.1". What has one form is one control.
std::string control_form(std::string_view control);
// Likewise, without dots: "SOC 2", "soc2" and "soc-2" are one.
std::string framework_form(std::string_view framework);

class Frameworks {
 public:
  // What becomes of a framework or a control that is not in the table.
  enum class Unknown : std::uint8_t { refuse, pass };

  // `more`: "framework:control" each; `*` is any control: "acme:*". Errors: invalid_argument.
  static Result<Frameworks> with(const std::vector<std::string>& more, Unknown unknown);

  // Case and separators do not matter: CC6.1, CC6_1 and cc6-1 are one, and so are 164.312(a)(1) and
  // 164_312_a_1. Errors: invalid_argument, with the names that are accepted.
  Status check(std::string_view framework, std::string_view control) const;

 private:
  using Controls = std::vector<std::string>;
  Unknown unknown_ = Unknown::refuse;
  std::map<std::string, Controls, std::less<>> controls_;  // names in their one form
};

}  // namespace betrace::kms
