#include "providers/pkcs11.h"

#include <algorithm>
#include <array>
#include <mutex>

#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/try.h"
#include "providers/named_blob.h"
#include "providers/pkcs11_gcm.h"
#include "providers/pkcs11_remedies.h"
#include "providers/pkcs11_token.h"
#include "providers/punctual_provider.h"
#include "providers/wrap_limits.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::size_t data_key_bytes = 32;

using Session = Pkcs11Token::Session;

class Pkcs11Provider final : public Provider {
 public:
  Pkcs11Provider(const ProviderEnvironment& environment, Pkcs11Settings settings)
      : settings_(std::move(settings)),
        blob_name_("pkcs11", settings_.uri()),
        uri_(blob_name_.master_key_id()),
        token_(settings_, environment.clock),
        remedies_(settings_) {}

  std::string_view name() const override { return "pkcs11"; }
  const Remedies* remedies() const override { return &remedies_; }
  std::string description() const override {
    return fmt::format("PKCS#11 - module: {}, key: {}", settings_.path, uri_);
  }

  Result<DataKey> generate_data_key(const CallContext& call,
                                    const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    SecretBytes plaintext(data_key_bytes);
    TRY(with_session(call, "generate data key", [&](Session& session) {
      return pkcs11_random(session, plaintext.expose_mutable());
    }));
    Wrapping wrapped = TRY(wrap(call, plaintext.expose(), context, "generate data key"));
    return DataKey{std::move(plaintext), std::move(wrapped)};
  }

  Result<Wrapping> encrypt(const CallContext& call, std::span<const std::uint8_t> plaintext,
                           const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    TRY(check_wrap_size(plaintext.size()));
    return wrap(call, plaintext, context, "encrypt");
  }

  Result<SecretBytes> decrypt(const CallContext& call, const Wrapping& wrapping,
                              const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    const auto sealed = TRY(blob_name_.open(wrapping));
    if (sealed.size() <= Pkcs11Gcm::nonce_bytes + Pkcs11Gcm::tag_bytes) {
      return fail(ErrorCode::invalid_ciphertext, "the wrapped key was cut short");
    }
    const auto aad = canonical_json(context);
    bool tried = false;
    auto opened = open(call, sealed, aad, &tried);
    // A module's general words for a ciphertext that does not open are those for its own trouble.
    // While the token opens what it sealed itself, it is the ciphertext; asked twice, lest it was a
    // moment's trouble.
    if (!opened && tried && is_outage(opened.error()) && prove_key(call, "decrypt")) {
      opened = open(call, sealed, aad, &tried);
      if (!opened && tried && is_outage(opened.error())) {
        opened.error().code = ErrorCode::invalid_ciphertext;
      }
    }
    if (!opened && opened.error().code == ErrorCode::invalid_ciphertext) {
      opened.error().message =
          fmt::format("{} ({})", context_mismatch_message, opened.error().type);
    }
    return opened;
  }

  Result<MasterKeyInfo> describe_key(const CallContext& call) override {
    TRY(token_.session(call));
    return MasterKeyInfo{.key_id = uri_, .state = "Enabled"};
  }

 private:
  static bool is_outage(const Error& error) { return error.code == ErrorCode::kms_unavailable; }

  // `use` answers what the module said. Once more after sessions, log-in or handles were lost.
  // `*tried`, where given: what failed last was C_Decrypt, so that the ciphertext may be at fault.
  template <class Use>
  Status with_session(const CallContext& call, std::string_view purpose, Use use,
                      bool* tried = nullptr) {
    for (int again = 0;; ++again) {
      if (tried != nullptr) *tried = false;
      auto session = token_.session(call);
      if (!session) {
        session.error().message = fmt::format("Failed to {}: {}", purpose, session.error().message);
        return std::unexpected(std::move(session).error());
      }
      const CK_RV code = use(*session);
      if (code == CKR_OK) return {};
      auto error = pkcs11_error(code, purpose);
      const bool lost = loses_session(code);
      const bool suspect = tried != nullptr && *tried;
      // Modules have other words for a connection that is gone: the next call makes a new one.
      if (lost || (is_outage(error) && !suspect)) session->lose();
      if (again == 1 || !lost) return std::unexpected(std::move(error));
      logger(log_category::kms)
          .warn("{}: logging in to the token '{}' anew", error.message, settings_.token);
    }
  }

  Result<Wrapping> wrap(const CallContext& call, std::span<const std::uint8_t> plaintext,
                        const EncryptionContext& context, std::string_view purpose) {
    if (!probe()) TRY(prove_key(call, purpose));
    const auto sealed = TRY(seal(call, plaintext, canonical_json(context), purpose));
    return blob_name_.wrapping(sealed);
  }

  Result<Bytes> seal(const CallContext& call, std::span<const std::uint8_t> plaintext,
                     const std::string& aad, std::string_view purpose) {
    Bytes sealed;
    TRY(with_session(call, purpose,
                     [&](Session& session) { return gcm_.seal(session, plaintext, aad, sealed); }));
    return sealed;
  }

  Result<SecretBytes> open(const CallContext& call, std::span<const std::uint8_t> sealed,
                           const std::string& aad, bool* tried = nullptr) {
    WipedBytes plaintext(sealed.size());
    const auto use = [&](Session& session) {
      bool reached = false;
      const auto code = gcm_.open(session, sealed, aad, plaintext, reached);
      if (tried != nullptr) *tried = reached;
      return code;
    };
    TRY(with_session(call, "decrypt", use, tried));
    return SecretBytes::copy_of(plaintext);
  }

  std::shared_ptr<const Bytes> probe() {
    const std::lock_guard lock(mutex_);
    return probe_;
  }

  // Whether the key opens what it seals, under its context and no other: what is wrapped must not
  // be lost, nor be everybody's. Seals once, because nonces are not for ever.
  Status prove_key(const CallContext& call, std::string_view purpose) {
    const std::array<std::uint8_t, 1> plaintext{42};
    auto sealed = probe();
    if (!sealed) sealed = std::make_shared<Bytes>(TRY(seal(call, plaintext, "{}", purpose)));
    const auto opened = open(call, *sealed, "{}");
    if (!opened && opened.error().code != ErrorCode::invalid_ciphertext) {
      return std::unexpected(opened.error());
    }
    const bool same = opened && std::ranges::equal(opened->expose(), plaintext);
    bool tried = false;
    const auto other = open(call, *sealed, "[]", &tried);
    if (!same || other) {
      return fail(
          ErrorCode::kms_key_disabled,
          fmt::format("Failed to {}: the token '{}' {}", purpose, settings_.token,
                      same ? "binds no context to what it wraps" : "does not open what it wraps"));
    }
    if (!tried) return std::unexpected(other.error());
    const std::lock_guard lock(mutex_);
    probe_ = std::move(sealed);
    return {};
  }

  const Pkcs11Settings settings_;
  const BlobName blob_name_;
  const std::string& uri_;
  Pkcs11Token token_;
  Pkcs11Gcm gcm_;
  std::mutex mutex_;
  std::shared_ptr<const Bytes> probe_;  // what the key has opened
  const Pkcs11Remedies remedies_;
};

}  // namespace

Result<std::unique_ptr<Provider>> make_pkcs11_provider(const ProviderEnvironment& environment) {
  return std::make_unique<PunctualProvider>(
      std::make_shared<Pkcs11Provider>(environment, TRY(read_pkcs11_settings(environment))),
      Pkcs11Token::sessions_wanted);
}

}  // namespace betrace::kms
