// What the people who run the service do about a provider that fails: each provider knows its own
// commands, and nothing central learns them. Immutable, thus thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "betrace/kms/doctor.h"
#include "betrace/kms/error.h"

namespace betrace::kms {

enum class TroubleKind : std::uint8_t {
  access_denied,
  key_disabled,
  key_pending_deletion,
  unreachable,
  slow,
  context_mismatch,
  not_for_production,
};

// One of them, as far as is known; views into what the caller holds.
struct Trouble {
  TroubleKind kind = TroubleKind::unreachable;
  const Error* error = nullptr;              // what the provider said, if it did
  std::string key_id = {};                   // the master key as the provider names it, if it did
  std::vector<std::string> operations = {};  // that fail: "generate_data_key", "decrypt"
};

struct Advice {
  std::string cause = {};                  // a sentence; empty: nothing better than the general one
  std::vector<std::string> commands = {};  // with the real names in them
  std::vector<std::pair<std::string, std::string>> settings = {};  // to be changed thereafter
};

// In US dollars.
struct ProviderPrices {
  double ten_thousand_calls = 0, key_month = 0;
};

class Remedies {
 public:
  virtual ~Remedies() = default;
  virtual Advice advise(const Trouble& trouble) const = 0;
  // How policies of the provider call an operation: "kms:GenerateDataKey".
  virtual std::string permission(std::string_view operation) const = 0;
  // How its master key is named in the configuration.
  virtual std::string configured_key() const { return {}; }
  // What its settings alone show to be wrong; the advice's commands become the remedy.
  struct Doubt {
    Finding finding;
    Advice advice;
  };
  virtual std::vector<Doubt> doubts() const { return {}; }
  virtual std::optional<ProviderPrices> prices() const { return std::nullopt; }
};

}  // namespace betrace::kms
