#include "providers/azure_blob.h"

#include <algorithm>

#include "base/crypto.h"
#include "base/encoding.h"

namespace betrace::kms {

std::string_view to_string(AzureAlgorithm algorithm) {
  return algorithm == AzureAlgorithm::a256kw ? "A256KW" : "RSA-OAEP-256";
}

bool is_azure_version(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  });
}

Bytes write_azure_blob(const AzureBlob& blob) {
  Bytes bytes{static_cast<std::uint8_t>(blob.algorithm),
              static_cast<std::uint8_t>(blob.version.size())};
  const auto add = [&](std::span<const std::uint8_t> part) {
    bytes.insert(bytes.end(), part.begin(), part.end());
  };
  add(as_bytes(blob.version));
  bytes.push_back(static_cast<std::uint8_t>(blob.kek.size() >> 8));
  bytes.push_back(static_cast<std::uint8_t>(blob.kek.size()));
  add(blob.kek);
  add(blob.nonce);
  add(blob.sealed);
  return bytes;
}

std::optional<AzureBlob> read_azure_blob(std::span<const std::uint8_t> bytes) {
  bool good = true;
  const auto take = [&](std::size_t count) {
    good = good && count <= bytes.size();
    if (!good) return std::span<const std::uint8_t>();
    const auto part = bytes.first(count);
    bytes = bytes.subspan(count);
    return part;
  };
  const auto number = [&](std::size_t count) {
    std::size_t value = 0;
    for (const auto byte : take(count)) value = value << 8 | byte;
    return value;
  };
  AzureBlob blob;
  const auto algorithm = number(1);
  blob.algorithm = static_cast<AzureAlgorithm>(algorithm);
  blob.version = as_text(take(number(1)));
  blob.kek = take(number(2));
  blob.nonce = take(gcm_nonce_bytes);
  blob.sealed = bytes;
  if (!good || algorithm < 1 || algorithm > 2 || !is_azure_version(blob.version) ||
      blob.kek.empty() || blob.sealed.size() <= gcm_tag_bytes) {
    return std::nullopt;
  }
  return blob;
}

}  // namespace betrace::kms
