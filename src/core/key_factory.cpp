#include "core/key_factory.h"

#include "base/try.h"
#include "core/succession.h"

namespace betrace::kms {

Result<KeyRecord> KeyFactory::make(const CallContext& call, const TenantId& tenant, KeyType type,
                                   std::uint32_t version) {
  auto made = TRY(opener_.make(call, tenant, type, version, clock_.now()));
  if (type == KeyType::signing) {
    made.record.attestation = attest(*TRY(service_key_.get(call)), made.record);
  }
  return std::move(made.record);
}

Result<KeyRecord> KeyFactory::first(const CallContext& call, const TenantId& tenant, KeyType type) {
  return make(call, tenant, type, 1);
}

Result<KeyRecord> KeyFactory::successor(const CallContext& call, const KeyRecord& predecessor,
                                        std::shared_ptr<const SigningKey> opened) {
  const bool signing = predecessor.type == KeyType::signing;
  if (signing && (!opened || opened->id != predecessor.id)) {
    auto unwrapped = opener_.open_signing(call, predecessor);
    if (!unwrapped) {
      unwrapped.error().message =
          "the outgoing key cannot sign its successor: " + unwrapped.error().message;
      return std::unexpected(std::move(unwrapped).error());
    }
    opened = *std::move(unwrapped);
  }
  auto made = TRY(make(call, predecessor.tenant, predecessor.type, predecessor.version + 1));
  if (!signing) return made;
  made.succession = sign_succession(predecessor, made, opened.get(), *TRY(service_key_.get(call)));
  return made;
}

Result<KeyRecord> KeyFactory::successor_after_compromise(const CallContext& call,
                                                         const KeyRecord& predecessor) {
  auto made = TRY(make(call, predecessor.tenant, predecessor.type, predecessor.version + 1));
  if (made.type != KeyType::signing) return made;
  made.succession = sign_succession(predecessor, made, nullptr, *TRY(service_key_.get(call)));
  return made;
}

}  // namespace betrace::kms
