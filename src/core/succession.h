// What is signed about keys, so that a reader who trusts one can trust the next: the service key
// vouches for every public key, and the outgoing key and the service key sign the successor. After
// a compromise the service key signs alone. All are DSSE pre-authentication encodings of types of
// our own over RFC 8785 JSON whose members are strings.
#pragma once

#include <string>

#include "betrace/kms/key.h"
#include "betrace/kms/signer.h"

#include "base/envelope.h"
#include "core/cached_keys.h"

namespace betrace::kms {

Bytes sign_assertion(const SigningKey& key, ByteView encoded);

// The record of a public key: algorithm, createdAt (milliseconds), keyId, publicKey (base64),
// tenantId, version.
std::string attested_json(const KeyRecord& record);
Bytes attest(const SigningKey& service_key, const KeyRecord& record);
bool is_attested(ByteView service_public_key, const KeyRecord& record);

// That `successor` follows `predecessor`: kind ("rotation" or "compromise"), tenantId, both key
// ids, versions and public keys, createdAt of the successor.
std::string succession_json(const KeyRecord& predecessor, const KeyRecord& successor,
                            Succession::Kind kind);
// `predecessor_key` is null after a compromise.
Succession sign_succession(const KeyRecord& predecessor, const KeyRecord& successor,
                           const SigningKey* predecessor_key, const SigningKey& service_key);
// Whether the successor's own succession bears the signatures that its kind asks for.
bool is_successor(ByteView service_public_key, const KeyRecord& predecessor,
                  const KeyRecord& successor);

}  // namespace betrace::kms
