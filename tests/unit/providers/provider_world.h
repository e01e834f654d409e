// The process as a provider under test sees it: settings, variables, clock and AWS, all by order.
#pragma once

#include <map>
#include <string>

#include "providers/catalog.h"
#include "support/fake_clock.h"
#include "support/http_fake_kms.h"

namespace betrace::kms {

struct ProviderWorld {
  FakeAws aws;
  FakeClock clock;
  std::map<std::string, std::string, std::less<>> settings;
  std::map<std::string, std::string, std::less<>> variables;
  std::string data_dir;

  static std::optional<std::string> look_up(
      const std::map<std::string, std::string, std::less<>>& in, std::string_view name) {
    const auto found = in.find(name);
    return found == in.end() ? std::nullopt : std::optional(found->second);
  }
  ProviderEnvironment environment() {
    return {.settings = [this](std::string_view key) { return look_up(settings, key); },
            .http = aws,
            .clock = clock,
            .environment = [this](const char* name) { return look_up(variables, name); },
            .data_dir = data_dir};
  }
};

}  // namespace betrace::kms
