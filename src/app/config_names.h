// By which names a configuration key goes: spellings, prefixes, KEY-file, and what a mistyped name
// may have been meant to be. Thread-safe.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/config_keys.h"

namespace betrace::kms {

// Under which a further provider reads its settings: "betrace.kms.previous.", "betrace.kms.second."
std::span<const std::string_view> instance_prefixes();

// The names under which `name` is looked up, the best first: any kms.X may also be written
// betrace.kms.X, and the other way round.
std::vector<std::string> spellings(std::string_view name);

// The same for `name` under an instance prefix; the "betrace.kms." of a name may be left out there.
std::vector<std::string> instance_spellings(std::string_view prefix, std::string_view name);

// The key that `name` means: a key in any spelling, KEY-file of a secret, either under an instance
// prefix, or a log category's level. Null when unknown.
// `category`, when asked for, receives the name inside quarkus.log.category."NAME".level.
const ConfigKey* recognise(std::string_view name, std::string* category = nullptr);

// Whether an unknown name is one that we should know.
bool in_our_name_spaces(std::string_view name);
// The known name that is nearest to a mistyped one; empty when none is near.
std::string nearest_name(std::string_view name);

}  // namespace betrace::kms
