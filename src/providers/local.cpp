#include "providers/local.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "base/try.h"
#include "providers/catalog.h"
#include "providers/local_master_key.h"
#include "providers/local_remedies.h"
#include "providers/wrap_limits.h"

namespace betrace::kms {
namespace {

constexpr std::uint8_t blob_format = 1;
constexpr std::size_t master_id_bytes = 8;
constexpr std::size_t header_bytes = 1 + master_id_bytes + gcm_nonce_bytes;
constexpr std::string_view master_id_domain = "betrace-kms local master key id v1:";

using MasterId = std::array<std::uint8_t, master_id_bytes>;

MasterId id_of(const SecretBytes& key) {
  const auto domain = as_bytes(master_id_domain);
  WipedBytes named(domain.begin(), domain.end());
  const auto bytes = key.expose();
  named.insert(named.end(), bytes.begin(), bytes.end());
  const auto digest = sha256(named);
  MasterId id{};
  std::copy_n(digest.begin(), id.size(), id.begin());
  return id;
}

class LocalProvider final : public Provider {
 public:
  LocalProvider(SecretBytes key, std::string file)
      : key_(std::move(key)),
        id_(id_of(key_)),
        id_text_("local:" + hex_encode(id_)),
        file_(std::move(file)) {}

  std::string_view name() const override { return "local"; }
  std::string description() const override { return "local master key " + file_; }
  bool remote() const override { return false; }
  const Remedies* remedies() const override { return &remedies_; }

  Result<DataKey> generate_data_key(const CallContext&, const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    SecretBytes plaintext = SecretBytes::random(aes_key_bytes);
    Wrapping wrapped = wrap(plaintext.expose(), context);
    return DataKey{std::move(plaintext), std::move(wrapped)};
  }

  Result<Wrapping> encrypt(const CallContext&, std::span<const std::uint8_t> plaintext,
                           const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    TRY(check_wrap_size(plaintext.size()));
    return wrap(plaintext, context);
  }

  Result<SecretBytes> decrypt(const CallContext&, const Wrapping& wrapping,
                              const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    TRY(check_ours(wrapping));
    const ByteView blob = wrapping.blob;
    const ByteView sealed = blob.subspan(header_bytes);
    const auto nonce = blob.subspan(1 + master_id_bytes).first<gcm_nonce_bytes>();
    SecretBytes plaintext(sealed.size() - gcm_tag_bytes);
    if (!gcm_open(key_, nonce, as_bytes(canonical_json(context)), sealed,
                  plaintext.expose_mutable())) {
      // An AEAD cannot tell a wrong context from an altered blob.
      return fail(ErrorCode::invalid_ciphertext,
                  fmt::format("{} or the ciphertext was altered", context_mismatch_message));
    }
    return plaintext;
  }

  Result<MasterKeyInfo> describe_key(const CallContext&) override {
    return MasterKeyInfo{.key_id = id_text_, .state = "Enabled", .usable = true, .deletion_at = {}};
  }

 private:
  Wrapping wrap(ByteView plaintext, const EncryptionContext& context) const {
    Bytes blob(header_bytes + plaintext.size() + gcm_tag_bytes);
    const std::span<std::uint8_t> out = blob;
    out[0] = blob_format;
    std::ranges::copy(id_, out.begin() + 1);
    const auto nonce = out.subspan(1 + master_id_bytes).first<gcm_nonce_bytes>();
    random_bytes(nonce);
    gcm_seal(key_, nonce, as_bytes(canonical_json(context)), plaintext, out.subspan(header_bytes));
    return {.provider = "local", .master_key_id = id_text_, .blob = std::move(blob)};
  }

  Status check_ours(const Wrapping& wrapping) const {
    if (wrapping.provider != name()) {
      return fail(
          ErrorCode::wrapped_elsewhere,
          fmt::format("the key was wrapped by provider '{}', not by 'local'", wrapping.provider));
    }
    const ByteView blob = wrapping.blob;
    if (blob.size() <= header_bytes + gcm_tag_bytes || blob[0] != blob_format) {
      return fail(ErrorCode::invalid_ciphertext,
                  "the wrapped key is not in the format of the local provider: it was cut short or "
                  "altered");
    }
    if (!std::ranges::equal(blob.subspan(1, master_id_bytes), id_)) {
      return fail(ErrorCode::wrapped_elsewhere,
                  fmt::format("the key was wrapped under master key local:{}, but {} holds {}",
                              hex_encode(blob.subspan(1, master_id_bytes)), file_, id_text_));
    }
    return {};
  }

  const SecretBytes key_;
  const MasterId id_;
  const std::string id_text_;
  const std::string file_;
  const LocalRemedies remedies_;
};

}  // namespace

Result<std::unique_ptr<Provider>> make_local_provider(const ProviderEnvironment& environment) {
  const std::string configured =
      environment.settings("betrace.kms.local.master-key-file").value_or("local-master.key");
  // An absolute path replaces the folder (std::filesystem::path::operator/).
  const std::string file = (std::filesystem::path(environment.data_dir) / configured).string();
  SecretBytes key = TRY(open_master_key(file, environment.may_create_master_key));
  return std::make_unique<LocalProvider>(std::move(key), file);
}

}  // namespace betrace::kms
