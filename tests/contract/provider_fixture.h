// What the contract suite needs of a provider: an instance, its twin after a restart, one under
// another master key, and, where calls leave the process, troubles by order. A new provider adds
// its fixture to provider_fixtures().
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "betrace/kms/provider.h"

namespace betrace::kms {

enum class Mishap {
  access_denied,
  key_disabled,
  key_pending_deletion,
  key_gone,
  throttled,     // asks for a pause of 2 s
  server_error,  // 500
  unavailable,   // 503
  connection_refused,
  no_answer,     // until the deadline
  not_json,      // 200 with something else
  half_answer,   // 200 with fields missing
  short_secret,  // 200 with a secret of the wrong size
};

class ProviderFixture {
 public:
  virtual ~ProviderFixture() = default;
  virtual Provider& provider() = 0;
  virtual std::unique_ptr<Provider> reopened() = 0;
  virtual std::unique_ptr<Provider> under_another_master_key() = 0;
  // Every call after this meets it. False where the kind of provider cannot have it.
  virtual bool cause(Mishap) { return false; }
};

using FixtureFactory = std::function<std::unique_ptr<ProviderFixture>()>;
const std::map<std::string, FixtureFactory>& provider_fixtures();

}  // namespace betrace::kms
