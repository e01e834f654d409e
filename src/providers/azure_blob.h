// The wrapped form of the azure provider; see azure.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "betrace/kms/key.h"

namespace betrace::kms {

enum class AzureAlgorithm : std::uint8_t { rsa_oaep_256 = 1, a256kw = 2 };
std::string_view to_string(AzureAlgorithm algorithm);  // "RSA-OAEP-256", "A256KW"

struct AzureBlob {
  AzureAlgorithm algorithm = AzureAlgorithm::rsa_oaep_256;
  std::string version;                   // of the vault's key
  std::span<const std::uint8_t> kek;     // wrapped
  std::span<const std::uint8_t> nonce;   // 12 bytes
  std::span<const std::uint8_t> sealed;  // with its tag
};

Bytes write_azure_blob(const AzureBlob& blob);
// Points into `bytes`. Nothing when it is no such blob.
std::optional<AzureBlob> read_azure_blob(std::span<const std::uint8_t> bytes);

// Letters and digits, as the vault makes them.
bool is_azure_version(std::string_view text);

}  // namespace betrace::kms
