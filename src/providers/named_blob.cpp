#include "providers/named_blob.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/encoding.h"

namespace betrace::kms {
namespace {

constexpr std::uint8_t format = 1;
constexpr std::size_t hash_bytes = 8;
constexpr std::size_t head_bytes = 1 + hash_bytes;

}  // namespace

Bytes name_blob(std::string_view master_key_id, std::span<const std::uint8_t> wrapped) {
  Bytes blob{format};
  const auto hash = sha256(as_bytes(master_key_id));
  blob.insert(blob.end(), hash.begin(), hash.begin() + hash_bytes);
  blob.insert(blob.end(), wrapped.begin(), wrapped.end());
  return blob;
}

Result<std::span<const std::uint8_t>> open_named_blob(const Wrapping& wrapping,
                                                      std::string_view provider,
                                                      std::string_view master_key_id) {
  if (wrapping.provider != provider) {
    return fail(ErrorCode::wrapped_elsewhere,
                fmt::format("the key was wrapped by provider '{}', not by '{}'", wrapping.provider,
                            provider));
  }
  if (wrapping.master_key_id != master_key_id) {
    return fail(ErrorCode::wrapped_elsewhere,
                fmt::format("the key was wrapped under master key {}, not under {}",
                            wrapping.master_key_id, master_key_id));
  }
  const std::span<const std::uint8_t> blob(wrapping.blob);
  if (blob.size() <= head_bytes || blob[0] != format) {
    return fail(ErrorCode::invalid_ciphertext,
                fmt::format("the wrapped key is no blob of provider '{}': it was cut short or "
                            "altered",
                            provider));
  }
  const auto hash = sha256(as_bytes(master_key_id));
  if (!std::ranges::equal(blob.subspan(1, hash_bytes), std::span(hash).first<hash_bytes>())) {
    return fail(ErrorCode::wrapped_elsewhere,
                fmt::format("the key was not wrapped under master key {}", master_key_id));
  }
  return blob.subspan(head_bytes);
}

}  // namespace betrace::kms
