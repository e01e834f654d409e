#include "providers/catalog.h"

#include <algorithm>
#include <array>
#include <mutex>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "providers/aws.h"
#include "providers/azure.h"
#include "providers/gcp.h"
#include "providers/local.h"
#include "providers/pkcs11.h"
#include "providers/vault.h"

namespace betrace::kms {
namespace {

using Factory = Result<std::unique_ptr<Provider>> (*)(const ProviderEnvironment&);

struct Row {
  std::string_view name;
  Factory make;
};

constexpr std::array rows{
    Row{"local", make_local_provider}, Row{"aws", make_aws_provider},
    Row{"vault", make_vault_provider}, Row{"gcp", make_gcp_provider},
    Row{"azure", make_azure_provider}, Row{"pkcs11", make_pkcs11_provider},
};

struct Registered {
  std::string name;
  ProviderFactory make;
};

// Function-local: a program may register before main().
struct Registry {
  std::mutex mutex;
  std::vector<Registered> rows;
};
Registry& registry() {
  static Registry instance;
  return instance;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}

bool is_name(std::string_view text) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  return !text.empty() && text.size() <= 32 && std::ranges::all_of(text, allowed);
}

}  // namespace

Result<std::unique_ptr<Provider>> make_provider(std::string_view name,
                                                const ProviderEnvironment& environment) {
  const std::string wanted = lower(name);
  if (const auto row = std::ranges::find(rows, wanted, &Row::name); row != rows.end()) {
    return row->make(environment);
  }

  ProviderFactory make;
  {
    const std::lock_guard lock(registry().mutex);
    const auto row = std::ranges::find(registry().rows, wanted, &Registered::name);
    if (row != registry().rows.end()) make = row->make;
  }
  if (!make) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("Unknown KMS provider: '{}'. Supported: {}", name,
                            fmt::join(provider_names(), ", ")));
  }
  auto provider = make(environment.settings);
  if (provider && !*provider) {
    return fail(ErrorCode::internal,
                fmt::format("the factory of KMS provider '{}' answered nothing", wanted));
  }
  return provider;
}

std::vector<std::string> provider_names() {
  std::vector<std::string> names;
  for (const Row& row : rows) names.emplace_back(row.name);
  const std::lock_guard lock(registry().mutex);
  for (const Registered& row : registry().rows) names.push_back(row.name);
  return names;
}

Status register_provider(std::string name, ProviderFactory factory) {
  name = lower(name);
  if (!is_name(name)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("KMS provider name '{}': accepted are 1 to 32 characters of a-z, 0-9, "
                            "'-' and '_'",
                            name));
  }
  if (!factory) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("KMS provider '{}' was registered without a factory", name));
  }
  const std::lock_guard lock(registry().mutex);
  if (std::ranges::find(rows, name, &Row::name) != rows.end() ||
      std::ranges::find(registry().rows, name, &Registered::name) != registry().rows.end()) {
    return fail(ErrorCode::already_exists,
                fmt::format("KMS provider '{}' is already registered", name));
  }
  registry().rows.push_back({std::move(name), std::move(factory)});
  return {};
}

}  // namespace betrace::kms
