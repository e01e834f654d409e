#include "support/fake_provider.h"

#include "base/canonical_json.h"
#include "base/crypto.h"
#include "base/encoding.h"

namespace betrace::kms {

void FakeProvider::fail_next(ErrorCode code, int times) {
  fail_next(Error{.code = code, .message = "scripted " + std::string(to_string(code))}, times);
}

void FakeProvider::fail_next(Error error, int times) {
  const std::lock_guard lock(mutex_);
  for (int i = 0; i < times; ++i) failures_.push_back(error);
}

void FakeProvider::fail_always(ErrorCode code) {
  const std::lock_guard lock(mutex_);
  always_ = Error{.code = code, .message = "scripted " + std::string(to_string(code))};
}

void FakeProvider::recover() {
  const std::lock_guard lock(mutex_);
  always_.reset();
  failures_.clear();
}

void FakeProvider::on_call(std::function<void(const CallContext&)> hook) {
  const std::lock_guard lock(mutex_);
  hook_ = std::move(hook);
}

std::optional<Error> FakeProvider::begin(const CallContext& call, std::atomic<int>& counter) {
  ++counter;
  std::function<void(const CallContext&)> hook;
  {
    const std::lock_guard lock(mutex_);
    hook = hook_;
  }
  if (hook) hook(call);
  const std::lock_guard lock(mutex_);
  if (always_) return always_;
  if (failures_.empty()) return std::nullopt;
  auto error = std::move(failures_.front());
  failures_.pop_front();
  return error;
}

Result<DataKey> FakeProvider::generate_data_key(const CallContext& call,
                                                const EncryptionContext& context) {
  if (auto error = begin(call, generated_)) return std::unexpected(*std::move(error));
  DataKey made{.plaintext = SecretBytes::random(32)};
  made.wrapped = *encrypt(call, made.plaintext.expose(), context);
  --encrypted_;
  return made;
}

Result<Wrapping> FakeProvider::encrypt(const CallContext& call,
                                       std::span<const std::uint8_t> plaintext,
                                       const EncryptionContext& context) {
  if (auto error = begin(call, encrypted_)) return std::unexpected(*std::move(error));
  Wrapping wrapping{.provider = name_, .master_key_id = master_key_id_};
  wrapping.blob.resize(gcm_nonce_bytes + plaintext.size() + gcm_tag_bytes);
  const auto nonce = std::span(wrapping.blob).first<gcm_nonce_bytes>();
  random_bytes(nonce);
  gcm_seal(master_, nonce, as_bytes(canonical_json(context)), plaintext,
           std::span(wrapping.blob).subspan(gcm_nonce_bytes));
  return wrapping;
}

Result<SecretBytes> FakeProvider::decrypt(const CallContext& call, const Wrapping& wrapping,
                                          const EncryptionContext& context) {
  if (auto error = begin(call, decrypted_)) return std::unexpected(*std::move(error));
  const auto mismatch = fail(ErrorCode::invalid_ciphertext, std::string(context_mismatch_message));
  if (wrapping.blob.size() < gcm_nonce_bytes + gcm_tag_bytes) return mismatch;
  SecretBytes plaintext(wrapping.blob.size() - gcm_nonce_bytes - gcm_tag_bytes);
  const ByteView blob = wrapping.blob;
  if (!gcm_open(master_, blob.first<gcm_nonce_bytes>(), as_bytes(canonical_json(context)),
                blob.subspan(gcm_nonce_bytes), plaintext.expose_mutable())) {
    return mismatch;
  }
  return plaintext;
}

Result<MasterKeyInfo> FakeProvider::describe_key(const CallContext& call) {
  if (auto error = begin(call, described_)) return std::unexpected(*std::move(error));
  return MasterKeyInfo{.key_id = master_key_id_, .state = "Enabled"};
}

}  // namespace betrace::kms
