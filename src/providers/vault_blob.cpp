#include "providers/vault_blob.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/encoding.h"

namespace betrace::kms {
namespace {

constexpr std::string_view prefix = "vault:v";
constexpr std::uint8_t format = 1;
constexpr std::size_t hash_bytes = 8;
constexpr std::size_t head_bytes = 1 + hash_bytes + 4;

}  // namespace

std::optional<Bytes> vault_blob(std::string_view text, std::string_view master_key_id) {
  if (!text.starts_with(prefix)) return std::nullopt;
  text.remove_prefix(prefix.size());
  std::uint32_t version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (error != std::errc() || version == 0 || !text.starts_with(':')) return std::nullopt;
  const auto ciphertext = base64_decode(text.substr(1));
  if (!ciphertext || ciphertext->empty()) return std::nullopt;
  Bytes blob{format};
  const auto hash = sha256(as_bytes(master_key_id));
  blob.insert(blob.end(), hash.begin(), hash.begin() + hash_bytes);
  for (int shift = 24; shift >= 0; shift -= 8) {
    blob.push_back(static_cast<std::uint8_t>(version >> shift));
  }
  blob.insert(blob.end(), ciphertext->begin(), ciphertext->end());
  return blob;
}

Result<std::string> vault_text(std::span<const std::uint8_t> blob, std::string_view master_key_id) {
  const auto no_blob = [] {
    return fail(ErrorCode::invalid_ciphertext,
                "the wrapped key is no blob of the vault provider: it was cut short or altered");
  };
  if (blob.size() <= head_bytes || blob[0] != format) return no_blob();
  const auto hash = sha256(as_bytes(master_key_id));
  if (!std::ranges::equal(blob.subspan(1, hash_bytes), std::span(hash).first<hash_bytes>())) {
    return fail(ErrorCode::wrapped_elsewhere,
                fmt::format("the key was not wrapped under master key {}", master_key_id));
  }
  std::uint32_t version = 0;
  for (std::size_t i = 1 + hash_bytes; i < head_bytes; ++i) version = version << 8 | blob[i];
  // Vault takes version 0 for version 1.
  if (version == 0) return no_blob();
  return fmt::format("{}{}:{}", prefix, version, base64_encode(blob.subspan(head_bytes)));
}

}  // namespace betrace::kms
