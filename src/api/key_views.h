// Keys as JSON, in the words of the contract.
#pragma once

#include <string_view>

#include "betrace/kms/key_service.h"

#include "api/json_writer.h"

namespace betrace::kms {

// {"keyId","keyType","version","status","createdAt"} and, where they are known, "stateChangedAt",
// "reason" and "secretDestroyedAt".
void write_key(const KeyRecord& key, JsonWriter& out);

// {"tenantId","createdAt","destroyed","keys":[…]}
void write_tenant(const TenantDescription& description, JsonWriter& out);

// {"keyId","version","algorithm","publicKey","publicKeyPem","createdAt","expiresAt","status"} and,
// where there are such, "revokedAt", "revocationReason", "attestation" and "succession".
void write_public_key(const PublicKey& key, std::chrono::days max_age, JsonWriter& out);

// RFC 7517 and 8037.
void write_jwk(const PublicKey& key, JsonWriter& out);

}  // namespace betrace::kms
