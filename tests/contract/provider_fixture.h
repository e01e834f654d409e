// What the contract suite needs of a provider: an instance, its twin after a restart, one under
// another master key, and, where calls leave the process, troubles by order. A new provider has its
// fixture in a file of its own and a row in provider_fixtures().
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "betrace/kms/provider.h"

#include "providers/catalog.h"

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
  // Every call after this is answered so. False where no answer is an HTTP one.
  virtual bool answer(int /*status*/, std::string /*body*/) { return false; }
};

// Of make_provider(), which must not fail.
std::unique_ptr<Provider> made(std::string_view name, const ProviderEnvironment& environment);

using FixtureFactory = std::function<std::unique_ptr<ProviderFixture>()>;
const std::map<std::string, FixtureFactory>& provider_fixtures();

// Each in a file of its own.
std::unique_ptr<ProviderFixture> local_fixture();
std::unique_ptr<ProviderFixture> aws_fixture();
std::unique_ptr<ProviderFixture> vault_fixture();
std::unique_ptr<ProviderFixture> gcp_fixture();
std::unique_ptr<ProviderFixture> pkcs11_fixture();
std::unique_ptr<ProviderFixture> azure_fixture();

}  // namespace betrace::kms
