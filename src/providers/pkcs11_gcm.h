// CKM_AES_GCM as modules have it. Its parameters are of two forms, because the text of version 2.40
// and its header disagree (ulIvBits); and there are tokens that make the nonce themselves: they
// write it where it is zero before (AWS CloudHSM), or append it to the tag (Thales Luna in FIPS
// mode). What a token wants is found by trying, and kept. Thread-safe.
//
// What is sealed is nonce (12 bytes) | ciphertext | tag (16 bytes), and where the nonce is zeros
// another one of 16 bytes, which counts.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>

#include "providers/pkcs11_token.h"

namespace betrace::kms {

// Random bytes of the token, of which sixteen nonces are drawn at a time: to ask costs a twentieth
// of a call in the process, and a way there and back over a network. Each is used once, and under
// no other log-in than it was drawn under: where a daemon's memory goes on in two machines, both
// restored from one snapshot, one of them at most still has its log-in to a device. Thread-safe.
class Pkcs11Nonces {
 public:
  static constexpr std::size_t bytes = 12, at_once = 16;

  // The next one. Answers what the module said.
  CK_RV take(Pkcs11Token::Session& session, std::span<std::uint8_t, bytes> out);

 private:
  std::mutex mutex_;  // of all below
  std::array<std::uint8_t, at_once * bytes> drawn_{};
  std::span<const std::uint8_t> left_;
  std::uint64_t epoch_ = 0;
};

class Pkcs11Gcm {
 public:
  static constexpr std::size_t nonce_bytes = Pkcs11Nonces::bytes, tag_bytes = 16,
                               appended_nonce_bytes = 16;

  // Answers what the module said.
  CK_RV seal(Pkcs11Token::Session& session, std::span<const std::uint8_t> plaintext,
             const std::string& aad, Bytes& sealed);
  // `tried`: the module took key and parameters, so that what it says is about the ciphertext, too.
  // `sealed` is longer than nonce and tag.
  CK_RV open(Pkcs11Token::Session& session, std::span<const std::uint8_t> sealed,
             const std::string& aad, WipedBytes& plaintext, bool& tried) const;

 private:
  Pkcs11Nonces nonces_;
  std::atomic<std::size_t> form_ = unknown;  // that the token has sealed with
  static constexpr std::size_t unknown = ~std::size_t(0);
};

// A token without a generator of its own leaves it to the operating system.
CK_RV pkcs11_random(Pkcs11Token::Session& session, std::span<std::uint8_t> out);

}  // namespace betrace::kms
