#include "api/key_views.h"

#include <utility>

#include "base/crypto.h"
#include "base/encoding.h"

namespace betrace::kms {

void write_key(const KeyRecord& key, JsonWriter& out) {
  out.begin_object();
  out.key("keyId").string(key.id.str());
  out.key("keyType").string(to_string(key.type));
  out.key("version").integer(key.version);
  out.key("status").string(key_status(key.state));
  out.key("createdAt").time(key.created_at);
  if (key.state_changed_at) out.key("stateChangedAt").time(*key.state_changed_at);
  if (!key.reason.empty()) out.key("reason").string(key.reason);
  if (key.secret_destroyed_at) out.key("secretDestroyedAt").time(*key.secret_destroyed_at);
  out.end_object();
}

void write_tenant(const TenantDescription& description, JsonWriter& out) {
  out.begin_object();
  out.key("tenantId").string(description.tenant.id.str());
  out.key("createdAt").time(description.tenant.created_at);
  out.key("destroyed").boolean(description.tenant.destroyed);
  out.key("keys").begin_array();
  for (const auto& key : description.keys) write_key(key, out);
  out.end_array().end_object();
}

void write_public_key(const PublicKey& key, std::chrono::days max_age, JsonWriter& out) {
  const auto spki = ed25519_spki(key.bytes);
  out.begin_object();
  out.key("keyId").string(key.id.str());
  out.key("version").integer(key.version);
  out.key("algorithm").string("Ed25519");
  out.key("publicKey").base64(spki);
  // 60 characters: one line of PEM.
  out.key("publicKeyPem")
      .string("-----BEGIN PUBLIC KEY-----\n" + base64_encode(spki) +
              "\n-----END PUBLIC KEY-----\n");
  out.key("createdAt").time(key.created_at);
  out.key("expiresAt").time(key.created_at + max_age);
  out.key("status").string(key_status(key.state));
  if (key.state == KeyState::revoked) {
    if (key.state_changed_at) out.key("revokedAt").time(*key.state_changed_at);
    out.key("revocationReason").string(key.reason);
  }
  if (!key.attestation_envelope.empty()) out.key("attestation").verbatim(key.attestation_envelope);
  if (!key.succession_envelope.empty()) out.key("succession").verbatim(key.succession_envelope);
  out.end_object();
}

void write_jwk(const PublicKey& key, JsonWriter& out) {
  out.begin_object();
  out.key("kty").string("OKP");
  out.key("crv").string("Ed25519");
  out.key("x").string(base64url_encode(key.bytes));
  out.key("kid").string(key.id.str());
  out.key("use").string("sig");
  out.key("alg").string("EdDSA");
  out.end_object();
}

}  // namespace betrace::kms
