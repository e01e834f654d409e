// The vault provider over a fake Vault with a key `master`.
#pragma once

#include <map>
#include <memory>
#include <stdexcept>
#include <string>

#include "providers/catalog.h"
#include "support/http_fake_vault.h"
#include "unit/providers/provider_world.h"

namespace betrace::kms {

struct VaultWorld {
  FakeClock clock;
  FakeVault vault{clock};
  std::map<std::string, std::string, std::less<>> settings{{"vault.transit.key-name", "master"}};

  VaultWorld() { vault.create_key("master"); }
  ProviderEnvironment environment() {
    return {
        .settings = [this](std::string_view key) { return ProviderWorld::look_up(settings, key); },
        .http = vault,
        .clock = clock,
        .environment = {},
        .data_dir = ""};
  }
  std::unique_ptr<Provider> provider() {
    auto made = make_provider("vault", environment());
    if (!made) throw std::runtime_error(made.error().message);
    return *std::move(made);
  }
};

}  // namespace betrace::kms
