// THE LIST of providers: name → factory. The only file that names them all; a new one is its own
// pair of files, a row here, a fixture in the contract suite and a page in docs/providers/.
// Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/clock.h"
#include "betrace/kms/provider.h"

#include "base/http.h"

namespace betrace::kms {

using EnvironmentVariables = std::function<std::optional<std::string>(const char*)>;

// What a provider may need of the process. `http` and `clock` must outlive the provider.
struct ProviderEnvironment {
  Settings settings;
  HttpClient& http;
  const Clock& clock;
  EnvironmentVariables environment;  // getenv; an empty value counts as absent
  std::string data_dir;
  // False when the store already holds keys wrapped by `local`: a new master key could open none.
  bool may_create_master_key = true;
};

// `name` in any case. Errors: invalid_argument for an unknown name or a bad setting, the message
// names key, value and what is accepted.
Result<std::unique_ptr<Provider>> make_provider(std::string_view name,
                                                const ProviderEnvironment& environment);

// The values of betrace.kms.provider: the built-in ones in the manual's order, then those that
// register_provider() added.
std::vector<std::string> provider_names();

}  // namespace betrace::kms
