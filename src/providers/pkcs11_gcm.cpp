#include "providers/pkcs11_gcm.h"

#include <algorithm>
#include <array>

namespace betrace::kms {
namespace {

using Session = Pkcs11Token::Session;

enum class Nonce : std::uint8_t { ours, written, appended };
struct Form {
  bool iv_bits;
  Nonce nonce;
};
// In the order in which they are tried.
constexpr std::array forms{Form{.iv_bits = true, .nonce = Nonce::ours},
                           Form{.iv_bits = false, .nonce = Nonce::ours},
                           Form{.iv_bits = true, .nonce = Nonce::written},
                           Form{.iv_bits = true, .nonce = Nonce::appended}};

// OASIS PKCS#11 v2.40, section 2.12.3; the standard's header, and p11-kit's, have ulIvBits as well.
struct GcmParamsOfTheText {
  CK_BYTE_PTR pIv;
  CK_ULONG ulIvLen;
  CK_BYTE_PTR pAAD;
  CK_ULONG ulAADLen, ulTagBits;
};

// Points into what it is made of. A module may write the nonce.
struct Gcm {
  CK_GCM_PARAMS long_form{};
  GcmParamsOfTheText short_form{};
  CK_MECHANISM mechanism{};

  Gcm(bool iv_bits, std::span<std::uint8_t> nonce, const std::string& aad) {
    auto* const text = reinterpret_cast<CK_BYTE_PTR>(const_cast<char*>(aad.data()));
    constexpr CK_ULONG tag_bits = Pkcs11Gcm::tag_bytes * 8;
    long_form = {nonce.data(), nonce.size(), nonce.size() * 8, text, aad.size(), tag_bits};
    short_form = {nonce.data(), nonce.size(), text, aad.size(), tag_bits};
    mechanism = iv_bits ? CK_MECHANISM{CKM_AES_GCM, &long_form, sizeof long_form}
                        : CK_MECHANISM{CKM_AES_GCM, &short_form, sizeof short_form};
  }
  Gcm(const Gcm&) = delete;
  Gcm& operator=(const Gcm&) = delete;
};

bool refuses_form(CK_RV code) {
  return code == CKR_MECHANISM_PARAM_INVALID || code == CKR_ARGUMENTS_BAD;
}

// Modules have general words for what they do not like.
bool may_refuse_form(CK_RV code) {
  return refuses_form(code) ||
         (!loses_session(code) && pkcs11_error(code, "").code == ErrorCode::kms_unavailable);
}

bool is_zeros(std::span<const std::uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](auto byte) { return byte == 0; });
}

CK_RV seal_as(const Form& form, Pkcs11Nonces& nonces, Session& session,
              std::span<const std::uint8_t> plaintext, const std::string& aad, Bytes& sealed) {
  constexpr auto appended_bytes = Pkcs11Gcm::appended_nonce_bytes;
  const auto tagged = plaintext.size() + Pkcs11Gcm::tag_bytes;
  sealed.assign(Pkcs11Gcm::nonce_bytes + tagged + appended_bytes, 0);
  const auto nonce = std::span(sealed).first<Pkcs11Gcm::nonce_bytes>();
  if (form.nonce == Nonce::ours) {
    if (const auto code = nonces.take(session, nonce); code != CKR_OK) return code;
  }
  Gcm gcm(form.iv_bits, form.nonce == Nonce::appended ? std::span<std::uint8_t>() : nonce, aad);
  auto& module = session.module();
  auto code = module.C_EncryptInit(session.handle(), &gcm.mechanism, session.key());
  if (code != CKR_OK) return code;
  CK_ULONG size = tagged + appended_bytes;
  code = module.C_Encrypt(session.handle(), const_cast<CK_BYTE_PTR>(plaintext.data()),
                          plaintext.size(), sealed.data() + nonce.size(), &size);
  if (code != CKR_OK) return code;
  const bool appended = size == tagged + appended_bytes;
  if (appended) {
    std::ranges::fill(nonce, 0);  // whatever it was, the token did not take it
    return CKR_OK;
  }
  if (size != tagged) return CKR_FUNCTION_FAILED;
  // It sealed under zeros, or nothing: a second time would give the key away, and the first is not
  // used.
  if (is_zeros(nonce)) return CKR_MECHANISM_PARAM_INVALID;
  sealed.resize(nonce.size() + tagged);
  return CKR_OK;
}

}  // namespace

CK_RV pkcs11_random(Session& session, std::span<std::uint8_t> out) {
  const auto code = session.module().C_GenerateRandom(session.handle(), out.data(), out.size());
  if (code != CKR_RANDOM_NO_RNG && code != CKR_FUNCTION_NOT_SUPPORTED) return code;
  std::ranges::copy(SecretBytes::random(out.size()).expose(), out.begin());
  return CKR_OK;
}

CK_RV Pkcs11Nonces::take(Session& session, std::span<std::uint8_t, bytes> out) {
  const std::lock_guard lock(mutex_);
  if (left_.empty() || epoch_ != session.epoch()) {
    left_ = {};
    if (const auto code = pkcs11_random(session, drawn_); code != CKR_OK) return code;
    left_ = drawn_;
    epoch_ = session.epoch();
  }
  std::ranges::copy(left_.first<bytes>(), out.begin());
  left_ = left_.subspan(bytes);
  return CKR_OK;
}

CK_RV Pkcs11Gcm::seal(Session& session, std::span<const std::uint8_t> plaintext,
                      const std::string& aad, Bytes& sealed) {
  if (const auto known = form_.load(); known != unknown) {
    return seal_as(forms[known], nonces_, session, plaintext, aad, sealed);
  }
  CK_RV first = CKR_OK;
  for (std::size_t form = 0; form < forms.size(); ++form) {
    const auto code = seal_as(forms[form], nonces_, session, plaintext, aad, sealed);
    if (code == CKR_OK) {
      form_ = form;
      return code;
    }
    if (first == CKR_OK) first = code;
    if (!may_refuse_form(code)) return code;
  }
  return first;
}

CK_RV Pkcs11Gcm::open(Session& session, std::span<const std::uint8_t> sealed,
                      const std::string& aad, WipedBytes& plaintext, bool& tried) const {
  auto in = sealed.subspan(nonce_bytes);
  auto nonce_in = sealed.first(nonce_bytes);
  if (is_zeros(nonce_in)) {
    if (in.size() <= tag_bytes + appended_nonce_bytes) return CKR_ENCRYPTED_DATA_LEN_RANGE;
    nonce_in = in.last(appended_nonce_bytes);
    in = in.first(in.size() - appended_nonce_bytes);
  }
  Bytes nonce(nonce_in.begin(), nonce_in.end());
  auto& module = session.module();
  const auto known = form_.load();
  const bool likely = known == unknown || forms[known].iv_bits;
  CK_RV code = CKR_OK;
  for (const bool iv_bits : {likely, !likely}) {
    Gcm gcm(iv_bits, nonce, aad);
    code = module.C_DecryptInit(session.handle(), &gcm.mechanism, session.key());
    if (refuses_form(code)) continue;
    if (code != CKR_OK) return code;
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
  return code;
}

}  // namespace betrace::kms
