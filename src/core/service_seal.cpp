#include "core/service_seal.h"

#include <algorithm>
#include <array>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {

Result<KeyRecord> ServiceSeal::make(const CallContext& call) {
  auto made = TRY(opener_.make(call, TenantId::service(), KeyType::encryption, 1, clock_.now()));
  const auto stored = store_.insert_service_key(call, made.record);
  if (stored) return std::move(made.record);
  if (stored.error().code != ErrorCode::already_exists) return std::unexpected(stored.error());
  return store_.find_active_key(call, TenantId::service(), KeyType::encryption);
}

Result<std::shared_ptr<const EncryptionKey>> ServiceSeal::key(const CallContext& call) {
  const std::lock_guard lock(mutex_);
  if (key_) return key_;
  auto record = store_.find_active_key(call, TenantId::service(), KeyType::encryption);
  const bool none = !record && (record.error().code == ErrorCode::key_not_found ||
                                record.error().code == ErrorCode::tenant_not_found);
  if (none) record = make(call);
  if (!record) return std::unexpected(std::move(record).error());
  // A handful of seals in the life of a key: nobody counts its nonces.
  key_ = TRY(opener_.open_encryption(call, *record, nullptr));
  return key_;
}

Result<Bytes> ServiceSeal::seal(const CallContext& call, std::string_view purpose,
                                const SecretBytes& secret) {
  const auto with = TRY(key(call));
  std::array<std::uint8_t, gcm_nonce_bytes> nonce;
  random_bytes(nonce);
  Bytes sealed(gcm_nonce_bytes + secret.size() + gcm_tag_bytes);
  std::ranges::copy(nonce, sealed.begin());
  gcm_seal(with->secret, nonce, as_bytes(purpose), secret.expose(),
           std::span(sealed).subspan(gcm_nonce_bytes));
  return sealed;
}

Result<SecretBytes> ServiceSeal::open(const CallContext& call, std::string_view purpose,
                                      ByteView sealed) {
  constexpr auto more = gcm_nonce_bytes + gcm_tag_bytes;
  if (sealed.size() < more) return fail(ErrorCode::corrupt, "what is sealed is cut off");
  const auto with = TRY(key(call));
  SecretBytes secret(sealed.size() - more);
  if (gcm_open(with->secret, sealed.first<gcm_nonce_bytes>(), as_bytes(purpose),
               sealed.subspan(gcm_nonce_bytes), secret.expose_mutable())) {
    return secret;
  }
  return fail(ErrorCode::corrupt,
              "what is sealed was sealed by another store's key, or changed since");
}

}  // namespace betrace::kms
