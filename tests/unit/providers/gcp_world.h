// The gcp provider over a fake Google with a key `master`.
#pragma once

#include <map>
#include <memory>
#include <stdexcept>
#include <string>

#include "providers/catalog.h"
#include "support/fake_clock.h"
#include "support/http_fake_gcp.h"
#include "unit/providers/provider_world.h"

namespace betrace::kms {

struct GcpWorld {
  FakeClock clock;
  FakeGcp google{clock};
  using Texts = std::map<std::string, std::string, std::less<>>;
  Texts settings{
      {"gcp.kms.project-id", "p"}, {"gcp.kms.keyring", "r"}, {"gcp.kms.key-name", "master"}};
  Texts variables;

  GcpWorld() { google.create_key("master"); }
  ProviderEnvironment environment() {
    return {
        .settings = [this](std::string_view key) { return ProviderWorld::look_up(settings, key); },
        .http = google,
        .clock = clock,
        .environment = [this](const char* name) { return ProviderWorld::look_up(variables, name); },
        .data_dir = ""};
  }
  std::unique_ptr<Provider> provider() {
    auto made = make_provider("gcp", environment());
    if (!made) throw std::runtime_error(made.error().message);
    return *std::move(made);
  }
};

}  // namespace betrace::kms
