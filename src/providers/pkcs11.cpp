#include "providers/pkcs11.h"

#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/try.h"
#include "providers/named_blob.h"
#include "providers/pkcs11_remedies.h"
#include "providers/pkcs11_token.h"
#include "providers/wrap_limits.h"

namespace betrace::kms {
namespace {

constexpr std::size_t data_key_bytes = 32;
constexpr std::size_t nonce_bytes = 12, tag_bytes = 16;

using Session = Pkcs11Token::Session;

// CKM_AES_GCM with a nonce and a context; points into what it is made of.
struct Gcm {
  std::string aad;
  CK_GCM_PARAMS params{};
  CK_MECHANISM mechanism{};

  Gcm(std::span<const std::uint8_t> nonce, const EncryptionContext& context)
      : aad(canonical_json(context)) {
    params.pIv = const_cast<CK_BYTE_PTR>(nonce.data());
    params.ulIvLen = nonce.size();
    params.ulIvBits = nonce.size() * 8;
    params.pAAD = reinterpret_cast<CK_BYTE_PTR>(aad.data());
    params.ulAADLen = aad.size();
    params.ulTagBits = tag_bytes * 8;
    mechanism = {CKM_AES_GCM, &params, sizeof params};
  }
  Gcm(const Gcm&) = delete;
  Gcm& operator=(const Gcm&) = delete;
};

class Pkcs11Provider final : public Provider {
 public:
  Pkcs11Provider(const ProviderEnvironment& environment, Pkcs11Settings settings)
      : settings_(std::move(settings)),
        uri_(settings_.uri()),
        token_(settings_, environment.clock),
        remedies_(settings_) {}

  std::string_view name() const override { return "pkcs11"; }
  const Remedies* remedies() const override { return &remedies_; }
  std::string description() const override {
    return fmt::format("PKCS#11 - module: {}, key: {}", settings_.module, uri_);
  }

  Result<DataKey> generate_data_key(const CallContext& call,
                                    const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    SecretBytes plaintext(data_key_bytes);
    TRY(with_session(call, "generate data key", [&](Session& session) {
      return random(session, plaintext.expose_mutable());
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
    const auto sealed = TRY(open_named_blob(wrapping, name(), uri_));
    if (sealed.size() <= nonce_bytes + tag_bytes) {
      return fail(ErrorCode::invalid_ciphertext, "the wrapped key was cut short");
    }
    WipedBytes plaintext(sealed.size() - nonce_bytes);
    bool tried = false;
    auto done = with_session(call, "decrypt", [&](Session& session) {
      return open(session, sealed, context, plaintext, tried);
    });
    if (!done && done.error().type == "CKR_GENERAL_ERROR" && tried && works(call)) {
      // SoftHSM's word for a tag that is wrong, and every module's for anything.
      done.error().code = ErrorCode::invalid_ciphertext;
    }
    if (!done && done.error().code == ErrorCode::invalid_ciphertext) {
      done.error().message = fmt::format("{} ({})", context_mismatch_message, done.error().type);
    }
    TRY(std::move(done));
    return SecretBytes::copy_of(plaintext);
  }

  Result<MasterKeyInfo> describe_key(const CallContext& call) override {
    const auto session = TRY(token_.session(call));
    const auto& key = session.key();
    MasterKeyInfo info{.key_id = uri_, .state = "Enabled"};
    if (key.bytes != data_key_bytes) {
      info.state = fmt::format("of {} bits; an AES key of 256 can wrap", key.bytes * 8);
    } else if (!key.encrypts || !key.decrypts) {
      info.state = "without CKA_ENCRYPT or CKA_DECRYPT";
    }
    info.usable = info.state == "Enabled";
    return info;
  }

 private:
  // `use` answers what the module said. Once more after sessions, log-in or handles were lost.
  template <class Use>
  Status with_session(const CallContext& call, std::string_view purpose, Use use) {
    for (int again = 0;; ++again) {
      auto session = token_.session(call);
      if (!session) {
        session.error().message = fmt::format("Failed to {}: {}", purpose, session.error().message);
        return std::unexpected(std::move(session).error());
      }
      const CK_RV code = use(*session);
      if (code == CKR_OK) return {};
      if (loses_session(code)) session->lose();
      if (again == 1 || !loses_session(code)) return std::unexpected(pkcs11_error(code, purpose));
    }
  }

  // A token without a generator of its own leaves it to the operating system.
  static CK_RV random(Session& session, std::span<std::uint8_t> out) {
    const auto code = session.module().C_GenerateRandom(session.handle(), out.data(), out.size());
    if (code != CKR_RANDOM_NO_RNG && code != CKR_FUNCTION_NOT_SUPPORTED) return code;
    std::ranges::copy(SecretBytes::random(out.size()).expose(), out.begin());
    return CKR_OK;
  }

  Result<Wrapping> wrap(const CallContext& call, std::span<const std::uint8_t> plaintext,
                        const EncryptionContext& context, std::string_view purpose) {
    Bytes sealed(nonce_bytes + plaintext.size() + tag_bytes);
    TRY(with_session(call, purpose,
                     [&](Session& session) { return seal(session, plaintext, context, sealed); }));
    return Wrapping{.provider = "pkcs11", .master_key_id = uri_, .blob = name_blob(uri_, sealed)};
  }

  static CK_RV seal(Session& session, std::span<const std::uint8_t> plaintext,
                    const EncryptionContext& context, std::span<std::uint8_t> sealed) {
    const auto nonce = sealed.first(nonce_bytes);
    if (const auto code = random(session, nonce); code != CKR_OK) return code;
    Gcm gcm(nonce, context);
    auto& module = session.module();
    auto code = module.C_EncryptInit(session.handle(), &gcm.mechanism, session.key().handle);
    if (code != CKR_OK) return code;
    const auto out = sealed.subspan(nonce_bytes);
    CK_ULONG size = out.size();
    code = module.C_Encrypt(session.handle(), const_cast<CK_BYTE_PTR>(plaintext.data()),
                            plaintext.size(), out.data(), &size);
    return code == CKR_OK && size != out.size() ? CKR_FUNCTION_FAILED : code;
  }

  static CK_RV open(Session& session, std::span<const std::uint8_t> sealed,
                    const EncryptionContext& context, WipedBytes& plaintext, bool& tried) {
    Gcm gcm(sealed.first(nonce_bytes), context);
    auto& module = session.module();
    auto code = module.C_DecryptInit(session.handle(), &gcm.mechanism, session.key().handle);
    if (code != CKR_OK) return code;
    const auto in = sealed.subspan(nonce_bytes);
    // Some modules want room for the tag, too.
    plaintext.resize(in.size());
    CK_ULONG size = plaintext.size();
    tried = true;
    code = module.C_Decrypt(session.handle(), const_cast<CK_BYTE_PTR>(in.data()), in.size(),
                            plaintext.data(), &size);
    if (code != CKR_OK) return code;
    if (size != in.size() - tag_bytes) return CKR_FUNCTION_FAILED;
    plaintext.resize(size);
    return CKR_OK;
  }

  // Whether the token does its work otherwise.
  bool works(const CallContext& call) {
    return wrap(call, std::array<std::uint8_t, 1>{}, {}, "encrypt").has_value();
  }

  const Pkcs11Settings settings_;
  const std::string uri_;
  Pkcs11Token token_;
  const Pkcs11Remedies remedies_;
};

}  // namespace

Result<std::unique_ptr<Provider>> make_pkcs11_provider(const ProviderEnvironment& environment) {
  return std::make_unique<Pkcs11Provider>(environment, TRY(read_pkcs11_settings(environment)));
}

}  // namespace betrace::kms
