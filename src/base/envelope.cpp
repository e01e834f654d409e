#include "base/envelope.h"

#include <utility>

#include <fmt/format.h>

#include "betrace/kms/signer.h"

#include "base/canonical_json.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "base/json.h"
#include "base/json_note.h"

namespace betrace::kms {
namespace {

std::unexpected<Error> unreadable(std::string_view type, std::string_view why) {
  return fail(ErrorCode::corrupt, fmt::format("no envelope of {}: {}", type, why));
}

}  // namespace

bool is_signed_by(std::span<const std::uint8_t> public_key, std::span<const std::uint8_t> encoded,
                  std::span<const std::uint8_t> signature) {
  if (public_key.size() != 32 || signature.size() != 64) return false;
  VerifyJob job{.public_key = public_key, .payload = encoded, .signature = signature};
  sodium_signer().verify({&job, 1});
  return job.valid;
}

std::string dsse_envelope(std::string_view type, std::string_view payload,
                          std::span<const EnvelopeSignature> signatures) {
  std::string out = "{\"payload\":";
  append_json_string(base64_encode(as_bytes(payload)), out);
  out += ",\"payloadType\":";
  append_json_string(type, out);
  out += ",\"signatures\":[";
  for (bool first = true; const auto& signature : signatures) {
    if (!std::exchange(first, false)) out += ',';
    out += "{\"keyid\":";
    append_json_string(signature.key.str(), out);
    out += ",\"sig\":";
    append_json_string(base64_encode(signature.bytes), out);
    out += '}';
  }
  return out + "]}";
}

Result<OpenedEnvelope> open_envelope(std::string_view envelope, std::string_view type,
                                     std::span<const std::uint8_t> public_key) {
  JsonDocument document;
  if (!document.parse(envelope)) return unreadable(type, "it is not JSON");
  const auto& root = document.root();
  if (text_of(root, "payloadType") != type) {
    return unreadable(type, fmt::format("its type is '{}'", text_of(root, "payloadType")));
  }
  const auto payload = base64_decode(text_of(root, "payload"));
  const auto* const signatures = root.get_object().if_contains("signatures");
  if (!payload || signatures == nullptr || !signatures->is_array()) {
    return unreadable(type, "payload or signatures are missing");
  }
  const auto encoded = dsse_encode(type, *payload);
  for (const auto& each : signatures->get_array()) {
    const auto id = KeyId::parse(text_of(each, "keyid"));
    const auto signature = base64_decode(text_of(each, "sig"));
    if (id && signature && is_signed_by(public_key, encoded, *signature)) {
      return OpenedEnvelope{.payload = std::string(as_text(*payload)), .signed_by = *id};
    }
  }
  return unreadable(type, "no signature of it verifies under the service's key");
}

}  // namespace betrace::kms
