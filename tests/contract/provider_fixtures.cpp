#include <stdexcept>

#include "contract/provider_fixture.h"

namespace betrace::kms {

std::unique_ptr<Provider> made(std::string_view name, const ProviderEnvironment& environment) {
  auto provider = make_provider(name, environment);
  if (!provider) throw std::runtime_error(provider.error().message);
  return *std::move(provider);
}

const std::map<std::string, FixtureFactory>& provider_fixtures() {
  static const std::map<std::string, FixtureFactory> fixtures{
      {"local", local_fixture}, {"aws", aws_fixture},       {"vault", vault_fixture},
      {"gcp", gcp_fixture},     {"pkcs11", pkcs11_fixture}, {"azure", azure_fixture},
  };
  return fixtures;
}

}  // namespace betrace::kms
