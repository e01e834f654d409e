// DSSE envelopes (https://github.com/secure-systems-lab/dsse): a statement and who signed it, as
// one JSON document that others' tools read.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

// What the service key asserts about keys.
inline constexpr std::string_view public_key_type = "application/vnd.betrace.public-key.v1+json";
inline constexpr std::string_view succession_type =
    "application/vnd.betrace.key-succession.v1+json";

struct EnvelopeSignature {
  KeyId key;
  std::span<const std::uint8_t> bytes;
};
// {"payloadType","payload" (base64),"signatures":[{"keyid","sig"}]}.
std::string dsse_envelope(std::string_view type, std::string_view payload,
                          std::span<const EnvelopeSignature> signatures);

// Ed25519; false for anything of another size, too.
bool is_signed_by(std::span<const std::uint8_t> public_key, std::span<const std::uint8_t> encoded,
                  std::span<const std::uint8_t> signature);

struct OpenedEnvelope {
  std::string payload;
  KeyId signed_by;
};
// The payload of an envelope of `type` that one signature by `public_key` covers. Errors: corrupt
// says what is wrong with it.
Result<OpenedEnvelope> open_envelope(std::string_view envelope, std::string_view type,
                                     std::span<const std::uint8_t> public_key);

}  // namespace betrace::kms
