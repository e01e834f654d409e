#include "providers/named_blob.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/encoding.h"

namespace betrace::kms {
namespace {

constexpr std::uint8_t format = 1;

}  // namespace

BlobName::BlobName(std::string_view provider, std::string master_key_id)
    : provider_(provider), master_key_id_(std::move(master_key_id)), head_{format} {
  const auto hash = sha256(as_bytes(master_key_id_));
  std::copy_n(hash.begin(), hash_bytes, head_.begin() + 1);
}

Wrapping BlobName::wrapping(std::span<const std::uint8_t> wrapped) const {
  Wrapping out{.provider = std::string(provider_), .master_key_id = master_key_id_, .blob = {}};
  out.blob.reserve(head_.size() + wrapped.size());
  out.blob.assign(head_.begin(), head_.end());
  out.blob.insert(out.blob.end(), wrapped.begin(), wrapped.end());
  return out;
}

Result<std::span<const std::uint8_t>> BlobName::open(const Wrapping& wrapping) const {
  if (wrapping.provider != provider_) {
    return fail(ErrorCode::wrapped_elsewhere,
                fmt::format("the key was wrapped by provider '{}', not by '{}'", wrapping.provider,
                            provider_));
  }
  if (wrapping.master_key_id != master_key_id_) {
    return fail(ErrorCode::wrapped_elsewhere,
                fmt::format("the key was wrapped under master key {}, not under {}",
                            wrapping.master_key_id, master_key_id_));
  }
  const std::span<const std::uint8_t> blob(wrapping.blob);
  if (blob.size() <= head_.size() || blob[0] != format) {
    return fail(ErrorCode::invalid_ciphertext,
                fmt::format("the wrapped key is no blob of provider '{}': it was cut short or "
                            "altered",
                            provider_));
  }
  if (!std::ranges::equal(blob.first(head_.size()), head_)) {
    return fail(ErrorCode::wrapped_elsewhere,
                fmt::format("the key was not wrapped under master key {}", master_key_id_));
  }
  return blob.subspan(head_.size());
}

}  // namespace betrace::kms
