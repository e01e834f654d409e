#include "app/wiring_provider.h"

#include <utility>

namespace betrace::kms {

ProviderEnvironment provider_environment(const Config& config, HttpClient& http,
                                         EnvironmentVariables variables, bool may_create_master_key,
                                         const std::string& prefix) {
  static constexpr std::string_view local_key_file = "betrace.kms.local.master-key-file";
  return {.settings = [config, prefix, all = config.settings(prefix)](
                          std::string_view key) -> std::optional<std::string> {
            // The provider's own default is in the data directory, where a relative path of it
            // begins.
            if (prefix.empty() && key == local_key_file && !config.is_set(key)) return std::nullopt;
            return all(key);
          },
          .http = http,
          .clock = system_clock(),
          .environment = std::move(variables),
          .data_dir = config.text("betrace.kms.data-dir"),
          .may_create_master_key = may_create_master_key};
}

}  // namespace betrace::kms
