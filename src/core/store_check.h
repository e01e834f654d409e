// Whether what a store holds fits together: every row can be read, every public key is vouched for
// by the service key and follows from its predecessor, every key that should be there has a wrapped
// form and no other has one. Asks no provider, and so cannot say whether the wrapped forms open.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "betrace/kms/key_store.h"

namespace betrace::kms {

struct StoreProblem {
  std::string tenant;
  std::string key;  // id; empty when it is about the tenant
  std::string problem;
};

struct StoreReport {
  std::uint64_t tenants = 0, destroyed_tenants = 0;
  std::map<std::pair<KeyType, KeyState>, std::uint64_t> keys;  // of tenants
  std::vector<WrappingCount> wrappings;
  std::uint64_t problems_found = 0;
  std::vector<StoreProblem> problems;  // the first 100
};

using CheckProgress = std::function<void(std::uint64_t tenants_done, std::uint64_t tenants_total)>;

// Reads the whole store. Errors: store_unavailable; corrupt when the service key cannot be read.
Result<StoreReport> check_store(const CallContext& call, KeyStore& store,
                                const CheckProgress& progress);

}  // namespace betrace::kms
