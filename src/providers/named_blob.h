// A blob that says whose it is, for providers whose answer to another master key's blob is the same
// as to another context: 01 | first 8 bytes of SHA-256(master key id) | what the provider wrapped.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

// Immutable: thread-safe.
class BlobName {
 public:
  // `provider`: of static lifetime.
  BlobName(std::string_view provider, std::string master_key_id);

  const std::string& master_key_id() const { return master_key_id_; }
  Wrapping wrapping(std::span<const std::uint8_t> wrapped) const;
  // What was wrapped; points into `wrapping`. Errors: wrapped_elsewhere when it is of another
  // provider or master key, invalid_ciphertext when it is no such blob.
  Result<std::span<const std::uint8_t>> open(const Wrapping& wrapping) const;

 private:
  static constexpr std::size_t hash_bytes = 8;

  const std::string_view provider_;
  const std::string master_key_id_;
  std::array<std::uint8_t, 1 + hash_bytes> head_;
};

}  // namespace betrace::kms
