#include "core/service_key.h"

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
  public_half_ = {.id = record->id, .bytes = std::move(record->public_key)};
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

Result<ServiceKey::PublicHalf> ServiceKey::public_half(const CallContext& call) {
  {
    const std::lock_guard lock(mutex_);
    if (public_half_) return *public_half_;
  }
  auto record = store_.find_active_key(call, TenantId::service(), KeyType::signing);
  if (!record && is_absent(record.error())) {
    return fail(ErrorCode::key_not_found,
                "the service has no key yet; it is made with the first tenant");
  }
  if (!record) return std::unexpected(std::move(record).error());
  const std::lock_guard lock(mutex_);
  public_half_ = {.id = record->id, .bytes = std::move(record->public_key)};
  return *public_half_;
}

void ServiceKey::evict() {
  const std::lock_guard lock(mutex_);
  key_.reset();
  public_half_.reset();
}

}  // namespace betrace::kms
