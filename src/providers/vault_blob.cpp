#include "providers/vault_blob.h"

#include <charconv>

#include <fmt/format.h>

#include "base/encoding.h"

namespace betrace::kms {
namespace {

constexpr std::string_view prefix = "vault:v";
constexpr std::size_t version_bytes = 4;

}  // namespace

std::optional<Bytes> vault_bytes(std::string_view text) {
  if (!text.starts_with(prefix)) return std::nullopt;
  text.remove_prefix(prefix.size());
  std::uint32_t version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (error != std::errc() || version == 0 || !text.starts_with(':')) return std::nullopt;
  const auto ciphertext = base64_decode(text.substr(1));
  if (!ciphertext || ciphertext->empty()) return std::nullopt;
  Bytes bytes;
  for (int shift = 24; shift >= 0; shift -= 8) {
    bytes.push_back(static_cast<std::uint8_t>(version >> shift));
  }
  bytes.insert(bytes.end(), ciphertext->begin(), ciphertext->end());
  return bytes;
}

std::optional<std::string> vault_text(std::span<const std::uint8_t> bytes) {
  if (bytes.size() <= version_bytes) return std::nullopt;
  std::uint32_t version = 0;
  for (const auto byte : bytes.first(version_bytes)) version = version << 8 | byte;
  if (version == 0) return std::nullopt;  // Vault takes it for 1
  return fmt::format("{}{}:{}", prefix, version, base64_encode(bytes.subspan(version_bytes)));
}

}  // namespace betrace::kms
