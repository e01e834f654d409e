// The verbs of the product. Nothing here knows HTTP or SQL.
//
// Every verb is asynchronous: `done` is called once, before the call returns when the keys are
// cached, else later on a thread of the service. Views (payloads, signatures, contexts) must stay
// valid until then. Thread-safe. For a caller who would rather wait, see wait() below.
//
// Errors of every verb that names a tenant: tenant_not_found, destroyed, kms_* and circuit_open
// when the master key is out of reach, store_unavailable, overloaded, corrupt.
#pragma once

#include <array>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/key.h"
#include "betrace/kms/key_store.h"
#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"
#include "betrace/kms/signer.h"

namespace betrace::kms {

struct Signature {
  KeyId key_id;
  std::uint32_t version = 0;
  SignatureBytes bytes{};
  bool stale = false;  // by a key past its time to live, because the provider is down
};

struct VerifyRequest {
  ByteView payload;
  ByteView signature;
  // At most one of the two. With neither the active key is tried, then older ones, newest first,
  // at most 10.
  std::optional<KeyId> key_id;
  std::optional<std::uint32_t> version;
};

struct Verification {
  bool valid = false;
  KeyId key_id;  // of the key that verified, else of the one that was tried first
  std::uint32_t version = 0;
  KeyState key_state = KeyState::active;
  // Valid, and by a key that is not revoked: a revoked one may have signed after it was lost.
  bool trusted = false;
  std::optional<SystemTime> revoked_at;
  std::string revocation_reason;
};

struct DecryptOptions {
  const EncryptionContext& context;
  bool allow_revoked = false;
};

// A ciphertext names its format and key version; its text form is "betrace:v1:" and base64url.
struct SealedDataKey {
  SecretBytes plaintext;  // 32 bytes
  Bytes ciphertext;
};

struct TenantDescription {
  TenantRecord tenant;
  std::vector<KeyRecord> keys;  // without wrappings
  bool created = false;         // by this call
};

struct PublicKey {
  KeyId id;
  std::uint32_t version = 0;
  KeyState state = KeyState::active;
  SystemTime created_at;
  std::optional<SystemTime> state_changed_at;
  std::array<std::uint8_t, 32> bytes{};
  std::string reason;  // of a revocation
  Bytes attestation;
  std::optional<Succession> succession;
  // What a reader without the service checks, as DSSE envelopes (JSON): that the service key
  // vouches for this key, and, from version 2 on, that its predecessor does. Filled by
  // public_keys().
  std::string attestation_envelope, succession_envelope;
};

struct CacheStatistics {
  std::uint64_t hits = 0, misses = 0;
  std::uint64_t size = 0;
  std::uint64_t evicted_size = 0, evicted_expired = 0, evicted_explicit = 0;
  // Misses that a cache of 2, 4 and 8 times the size would have served, and one whose keys live 2,
  // 4 and 8 times as long.
  std::array<std::uint64_t, 3> larger{}, longer{};
};
struct CacheReport {
  CacheStatistics private_keys, public_keys, encryption_keys;
};

class KeyService {
 public:
  virtual ~KeyService() = default;

  // Both keys of the tenant, made and stored; a tenant that exists is described as it is.
  virtual void create_tenant(CallContext call, TenantId tenant, Done<TenantDescription> done) = 0;
  virtual void describe_tenant(CallContext call, TenantId tenant, Done<TenantDescription> done) = 0;
  virtual void list_tenants(CallContext call, Page page, Done<std::vector<TenantRecord>> done) = 0;

  // One result per payload, in order. Item errors: reserved_payload for bytes that are one of the
  // service's own assertions (DSSE pre-authentication encoding of application/vnd.betrace.…).
  virtual void sign(CallContext call, const TenantId& tenant, std::span<const ByteView> payloads,
                    Done<std::vector<Result<Signature>>> done) = 0;
  // Item errors: key_not_found, invalid_argument.
  virtual void verify(CallContext call, const TenantId& tenant,
                      std::span<const VerifyRequest> requests,
                      Done<std::vector<Result<Verification>>> done) = 0;

  // AES-256-GCM under the active encryption key, bound to tenant, version and `context`.
  // Item errors: invalid_argument (context of more than 64 pairs or 8 KiB), overloaded when the
  // key's nonce budget is spent.
  virtual void encrypt(CallContext call, const TenantId& tenant,
                       std::span<const ByteView> plaintexts, const EncryptionContext& context,
                       Done<std::vector<Result<Bytes>>> done) = 0;
  // Item errors: invalid_ciphertext, key_not_found; permission_denied for a revoked version, unless
  // `allow_revoked`; destroyed.
  virtual void decrypt(CallContext call, const TenantId& tenant,
                       std::span<const ByteView> ciphertexts, const DecryptOptions& options,
                       Done<std::vector<Result<WipedBytes>>> done) = 0;
  // The same plaintexts under the active version. Item errors: those of encrypt() and decrypt().
  virtual void rewrap(CallContext call, const TenantId& tenant,
                      std::span<const ByteView> ciphertexts, const DecryptOptions& options,
                      Done<std::vector<Result<Bytes>>> done) = 0;
  // A fresh 32-byte key, in the clear and encrypted as by encrypt().
  virtual void data_key(CallContext call, const TenantId& tenant, const EncryptionContext& context,
                        Done<SealedDataKey> done) = 0;

  // New versions of both keys, answered without wrappings; the old ones verify and decrypt only.
  // Errors: conflict when another rotation of the tenant was first.
  virtual void rotate(CallContext call, TenantId tenant, Done<std::vector<KeyRecord>> done) = 0;

  // Newest version first.
  virtual void public_keys(CallContext call, const TenantId& tenant,
                           Done<std::vector<PublicKey>> done) = 0;
  // Loads the tenant's signing key as a request would. Answers whether the cache had it.
  virtual void retrieve_signing_key(CallContext call, const TenantId& tenant, Done<bool> done) = 0;

  virtual CacheReport cache_report() const = 0;
};

// Calls `start(done)` and waits for `done`:
//   auto signed = wait<std::vector<Result<Signature>>>(
//       [&](auto done) { keys.sign(call, tenant, payloads, std::move(done)); });
// Not for threads of the service.
template <class T, class Start>
Result<T> wait(Start&& start) {
  std::mutex mutex;
  std::condition_variable ready;
  std::optional<Result<T>> answer;
  start(Done<T>([&](Result<T> result) {
    const std::lock_guard lock(mutex);
    answer.emplace(std::move(result));
    ready.notify_one();
  }));
  std::unique_lock lock(mutex);
  ready.wait(lock, [&] { return answer.has_value(); });
  return *std::move(answer);
}

}  // namespace betrace::kms
