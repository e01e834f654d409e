#include "core/service_key.h"

#include <algorithm>

#include "base/canonical_json.h"
#include "base/crypto.h"
#include "base/encoding.h"

namespace betrace::kms {
namespace {

bool is_absent(const Error& error) {
  return error.code == ErrorCode::key_not_found || error.code == ErrorCode::tenant_not_found;
}

}  // namespace

ServiceKey::ServiceKey(KeyStore& store, KeyOpener& opener, const Clock& clock)
    : store_(store), opener_(opener), clock_(clock) {}

Result<std::shared_ptr<const SigningKey>> ServiceKey::get(const CallContext& call) {
  const std::lock_guard making(making_);
  {
    const std::lock_guard lock(mutex_);
    if (key_) return key_;
  }
  auto record = store_.find_active_key(call, TenantId::service(), KeyType::signing);
  if (!record && is_absent(record.error())) record = make(call);
  if (!record) return std::unexpected(std::move(record).error());
  auto key = opener_.open_signing(call, *record);
  if (!key) return key;
  const std::lock_guard lock(mutex_);
  key_ = *key;
  public_key_ = record->public_key;
  return key;
}

Result<KeyRecord> ServiceKey::make(const CallContext& call) {
  auto made = opener_.make(call, TenantId::service(), KeyType::signing, 1, clock_.now());
  if (!made) return std::unexpected(std::move(made).error());
  const auto stored = store_.insert_service_key(call, made->record);
  if (stored) return std::move(made->record);
  if (stored.error().code != ErrorCode::already_exists) return std::unexpected(stored.error());
  return store_.find_active_key(call, TenantId::service(), KeyType::signing);
}

Result<Bytes> ServiceKey::public_key(const CallContext& call) {
  {
    const std::lock_guard lock(mutex_);
    if (!public_key_.empty()) return public_key_;
  }
  auto record = store_.find_active_key(call, TenantId::service(), KeyType::signing);
  if (!record && is_absent(record.error())) {
    return fail(ErrorCode::key_not_found,
                "the service has no key yet; it is made with the first tenant");
  }
  if (!record) return std::unexpected(std::move(record).error());
  const std::lock_guard lock(mutex_);
  public_key_ = record->public_key;
  return public_key_;
}

void ServiceKey::evict() {
  const std::lock_guard lock(mutex_);
  key_.reset();
  public_key_.clear();
}

Bytes attested_bytes(const KeyRecord& record) {
  const EncryptionContext members{
      {"algorithm", "Ed25519"},
      {"createdAt", std::to_string(record.created_at.time_since_epoch().count())},
      {"keyId", record.id.str()},
      {"publicKey", base64_encode(record.public_key)},
      {"tenantId", record.tenant.str()},
      {"version", std::to_string(record.version)},
  };
  return dsse_encode("application/vnd.betrace.public-key.v1+json",
                     as_bytes(canonical_json(members)));
}

Bytes attest(const SigningKey& service_key, const KeyRecord& record) {
  const auto bytes = attested_bytes(record);
  SignJob job{.key = &service_key.secret, .payload = bytes};
  sodium_signer().sign({&job, 1});
  return {job.signature.begin(), job.signature.end()};
}

bool is_attested(ByteView service_public_key, const KeyRecord& record) {
  const auto bytes = attested_bytes(record);
  VerifyJob job{
      .public_key = service_public_key, .payload = bytes, .signature = record.attestation};
  sodium_signer().verify({&job, 1});
  return job.valid;
}

}  // namespace betrace::kms
