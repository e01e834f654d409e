// What a configuration value may be: checks one against its row in the table and brings it into
// its one form. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "app/config_keys.h"

namespace betrace::kms {

// Brings `value` into form (blanks around it cut, names in lower case). Answers nothing when it is
// accepted, else what would be: "a whole number from 1 to 65535".
std::optional<std::string> refuse_value(const ConfigKey& key, std::string& value);

// How a value is shown to people: "****" for a secret, passwords in addresses masked, control
// characters escaped, long ones cut.
std::string shown_value(const ConfigKey& key, std::string_view value);

// A key or an expression's name as somebody wrote it, in a form that can be printed: UTF-8, one
// line, not too long.
std::string shown_name(std::string_view name);

}  // namespace betrace::kms
