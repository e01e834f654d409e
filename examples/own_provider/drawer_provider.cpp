#include "drawer_provider.h"

using namespace betrace::kms;

Result<DataKey> DrawerProvider::generate_data_key(const CallContext& call,
                                                  const EncryptionContext& context) {
  auto key = SecretBytes::random(32);
  auto wrapped = encrypt(call, key.expose(), context);
  if (!wrapped) return std::unexpected(wrapped.error());
  return DataKey{std::move(key), *std::move(wrapped)};
}

Result<Wrapping> DrawerProvider::encrypt(const CallContext&,
                                         std::span<const std::uint8_t> plaintext,
                                         const EncryptionContext& context) {
  if (plaintext.size() > 4096) return fail(ErrorCode::invalid_argument, "more than 4096 bytes");
  const auto number = SecretBytes::random(16);
  const Bytes blob(number.expose().begin(), number.expose().end());
  const std::lock_guard lock(mutex_);
  drawer_.emplace(std::string(blob.begin(), blob.end()),
                  Entry{SecretBytes::copy_of(plaintext), context});
  return Wrapping{.provider = "drawer", .master_key_id = label_, .blob = blob};
}

Result<SecretBytes> DrawerProvider::decrypt(const CallContext&, const Wrapping& wrapping,
                                            const EncryptionContext& context) {
  const std::lock_guard lock(mutex_);
  const auto found = drawer_.find({wrapping.blob.begin(), wrapping.blob.end()});
  if (found == drawer_.end()) {
    return fail(ErrorCode::wrapped_elsewhere, "no such key in the drawer " + label_);
  }
  if (found->second.context != context) {
    return fail(ErrorCode::invalid_ciphertext, std::string(context_mismatch_message));
  }
  return SecretBytes::copy_of(found->second.key.expose());
}

Result<MasterKeyInfo> DrawerProvider::describe_key(const CallContext&) {
  return MasterKeyInfo{.key_id = label_, .state = "Enabled", .usable = true, .deletion_at = {}};
}
