#include "core/succession.h"

#include <utility>

#include "base/canonical_json.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "base/envelope.h"

namespace betrace::kms {
namespace {

std::string milliseconds(SystemTime time) {
  return std::to_string(time.time_since_epoch().count());
}

Bytes attested_bytes(const KeyRecord& record) {
  return dsse_encode(public_key_type, as_bytes(attested_json(record)));
}

}  // namespace

Bytes sign_assertion(const SigningKey& key, ByteView encoded) {
  SignJob job{.key = &key.secret, .payload = encoded};
  sodium_signer().sign({&job, 1});
  return {job.signature.begin(), job.signature.end()};
}

std::string attested_json(const KeyRecord& record) {
  return canonical_json({
      {"algorithm", "Ed25519"},
      {"createdAt", milliseconds(record.created_at)},
      {"keyId", record.id.str()},
      {"publicKey", base64_encode(record.public_key)},
      {"tenantId", record.tenant.str()},
      {"version", std::to_string(record.version)},
  });
}

Bytes attest(const SigningKey& service_key, const KeyRecord& record) {
  return sign_assertion(service_key, attested_bytes(record));
}

bool is_attested(ByteView service_public_key, const KeyRecord& record) {
  return is_signed_by(service_public_key, attested_bytes(record), record.attestation);
}

std::string succession_json(const KeyRecord& predecessor, const KeyRecord& successor,
                            Succession::Kind kind) {
  return canonical_json({
      {"createdAt", milliseconds(successor.created_at)},
      {"keyId", successor.id.str()},
      {"kind", std::string(to_string(kind))},
      {"predecessorKeyId", predecessor.id.str()},
      {"predecessorPublicKey", base64_encode(predecessor.public_key)},
      {"predecessorVersion", std::to_string(predecessor.version)},
      {"publicKey", base64_encode(successor.public_key)},
      {"tenantId", successor.tenant.str()},
      {"version", std::to_string(successor.version)},
  });
}

Succession sign_succession(const KeyRecord& predecessor, const KeyRecord& successor,
                           const SigningKey* predecessor_key, const SigningKey& service_key) {
  const auto kind =
      predecessor_key == nullptr ? Succession::Kind::compromise : Succession::Kind::rotation;
  const auto encoded =
      dsse_encode(succession_type, as_bytes(succession_json(predecessor, successor, kind)));
  Succession succession{.kind = kind, .by_predecessor = {}, .by_service = {}};
  if (predecessor_key != nullptr) {
    succession.by_predecessor = sign_assertion(*predecessor_key, encoded);
  }
  succession.by_service = sign_assertion(service_key, encoded);
  return succession;
}

bool is_successor(ByteView service_public_key, const KeyRecord& predecessor,
                  const KeyRecord& successor) {
  if (!successor.succession) return false;
  const auto& succession = *successor.succession;
  if (succession.kind == Succession::Kind::unvouched) return true;
  const auto encoded = dsse_encode(
      succession_type, as_bytes(succession_json(predecessor, successor, succession.kind)));
  if (!is_signed_by(service_public_key, encoded, succession.by_service)) return false;
  return succession.kind == Succession::Kind::compromise ||
         is_signed_by(predecessor.public_key, encoded, succession.by_predecessor);
}

}  // namespace betrace::kms
