// The azure provider over a fake Azure with a key `master`.
#pragma once

#include <map>
#include <memory>
#include <stdexcept>
#include <string>

#include "providers/catalog.h"
#include "support/fake_clock.h"
#include "support/http_fake_azure.h"
#include "unit/providers/provider_world.h"

namespace betrace::kms {

struct AzureWorld {
  FakeClock clock;
  FakeAzure azure{clock};
  using Texts = std::map<std::string, std::string, std::less<>>;
  Texts settings{{"azure.keyvault.uri", std::string(FakeAzure::uri)},
                 {"azure.keyvault.key-name", "master"}};
  Texts variables;

  AzureWorld() { azure.create_key("master"); }
  ProviderEnvironment environment() {
    return {
        .settings = [this](std::string_view key) { return ProviderWorld::look_up(settings, key); },
        .http = azure,
        .clock = clock,
        .environment = [this](const char* name) { return ProviderWorld::look_up(variables, name); },
        .data_dir = ""};
  }
  std::unique_ptr<Provider> provider() {
    auto made = make_provider("azure", environment());
    if (!made) throw std::runtime_error(made.error().message);
    return *std::move(made);
  }
};

}  // namespace betrace::kms
