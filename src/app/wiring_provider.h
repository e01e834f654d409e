// What a provider is told by the configuration: for the service and for the commands that ask the
// provider themselves.
#pragma once

#include <string>

#include "app/config.h"
#include "base/http.h"
#include "providers/catalog.h"

namespace betrace::kms {

// With a prefix, e.g. "betrace.kms.previous.", the settings of that further instance. `http` must
// outlive the provider.
ProviderEnvironment provider_environment(const Config& config, HttpClient& http,
                                         EnvironmentVariables variables, bool may_create_master_key,
                                         const std::string& prefix = {});

}  // namespace betrace::kms
