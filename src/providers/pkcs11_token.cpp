#include "providers/pkcs11_token.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/try.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::size_t sessions_wanted = 16;  // as many as there are threads for providers

std::string_view trimmed(const unsigned char* label, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(label), size);
  while (text.ends_with(' ') || text.ends_with('\0')) text.remove_suffix(1);
  return text;
}

Status check(CK_RV code, std::string_view purpose) {
  if (code == CKR_OK) return {};
  return std::unexpected(pkcs11_error(code, purpose));
}

template <class T>
CK_ATTRIBUTE attribute(CK_ATTRIBUTE_TYPE type, T& value) {
  return {type, &value, sizeof value};
}

}  // namespace

Pkcs11Token::Pkcs11Token(const Pkcs11Settings& settings, const Clock& clock)
    : settings_(settings), clock_(clock) {}

Pkcs11Token::~Pkcs11Token() {
  const std::lock_guard lock(mutex_);
  if (!connected_) return;
  // Others of this process may be logged in to the same token: only what is ours is closed.
  for (const auto session : free_) (*module_)->C_CloseSession(session);
}

Pkcs11Token::Session::~Session() {
  if (token_ != nullptr) token_->give_back(handle_, epoch_);
}

void Pkcs11Token::Session::lose() {
  const std::lock_guard lock(token_->mutex_);
  if (token_->epoch_ == epoch_) token_->disconnect();
}

void Pkcs11Token::give_back(CK_SESSION_HANDLE session, std::uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  if (epoch == epoch_) {
    --taken_;
    free_.push_back(session);
    free_again_.notify_one();
  } else {
    (*module_)->C_CloseSession(session);
  }
}

// Sessions that others hold are closed when they come back.
void Pkcs11Token::disconnect() {
  for (const auto session : free_) (*module_)->C_CloseSession(session);
  free_.clear();
  taken_ = 0;
  connected_ = false;
  ++epoch_;
  free_again_.notify_all();
}

Result<CK_SLOT_ID> Pkcs11Token::find_slot() {
  CK_ULONG count = 0;
  TRY(check((*module_)->C_GetSlotList(CK_TRUE, nullptr, &count), "list the slots"));
  std::vector<CK_SLOT_ID> slots(count);
  TRY(check((*module_)->C_GetSlotList(CK_TRUE, slots.data(), &count), "list the slots"));
  slots.resize(std::min<std::size_t>(count, slots.size()));
  std::string seen;
  for (const auto slot : slots) {
    CK_TOKEN_INFO info{};
    if ((*module_)->C_GetTokenInfo(slot, &info) != CKR_OK) continue;
    const auto label = trimmed(info.label, sizeof info.label);
    if (label != settings_.token) {
      seen += fmt::format("{}'{}'", seen.empty() ? "" : ", ", label);
      continue;
    }
    const auto most = info.ulMaxSessionCount;
    const bool bounded = most != CK_UNAVAILABLE_INFORMATION && most != CK_EFFECTIVELY_INFINITE;
    sessions_max_ = bounded ? std::min<std::size_t>(most, sessions_wanted) : sessions_wanted;
    return slot;
  }
  return fail(ErrorCode::kms_unavailable,
              fmt::format("no token is labelled '{}' (pkcs11.token-label); there are: {}",
                          settings_.token, seen.empty() ? "none" : seen));
}

Status Pkcs11Token::log_in(CK_SESSION_HANDLE session) {
  const auto pin = settings_.pin.expose();
  const auto code =
      (*module_)->C_Login(session, CKU_USER, const_cast<CK_UTF8CHAR_PTR>(pin.data()), pin.size());
  if (code == CKR_OK || code == CKR_USER_ALREADY_LOGGED_IN) return {};
  auto error = pkcs11_error(code, fmt::format("log in to the token '{}'", settings_.token));
  if (error.code == ErrorCode::kms_access_denied) {
    error.message +=
        "; pkcs11.pin is not tried again before a restart, because wrong PINs lock a "
        "token";
    pin_refused_ = error;
  }
  return std::unexpected(std::move(error));
}

Result<Pkcs11Key> Pkcs11Token::find_key(CK_SESSION_HANDLE session) {
  CK_OBJECT_CLASS kind = CKO_SECRET_KEY;
  CK_KEY_TYPE type = CKK_AES;
  auto label = settings_.key;
  std::array wanted{attribute(CKA_CLASS, kind), attribute(CKA_KEY_TYPE, type),
                    CK_ATTRIBUTE{CKA_LABEL, label.data(), label.size()}};
  TRY(check((*module_)->C_FindObjectsInit(session, wanted.data(), wanted.size()), "find the key"));
  std::array<CK_OBJECT_HANDLE, 2> found{};
  CK_ULONG count = 0;
  const auto code = (*module_)->C_FindObjects(session, found.data(), found.size(), &count);
  (*module_)->C_FindObjectsFinal(session);
  TRY(check(code, "find the key"));
  if (count != 1) {
    return fail(
        ErrorCode::kms_key_disabled,
        fmt::format("the token '{}' has {} labelled '{}' (pkcs11.key-label)", settings_.token,
                    count == 0 ? "no AES key" : "more than one AES key", settings_.key));
  }
  CK_ULONG bytes = 0;
  CK_BBOOL encrypts = CK_FALSE, decrypts = CK_FALSE, extractable = CK_FALSE;
  // Some modules do not say all of them; each is asked by itself.
  for (auto each : {attribute(CKA_VALUE_LEN, bytes), attribute(CKA_ENCRYPT, encrypts),
                    attribute(CKA_DECRYPT, decrypts), attribute(CKA_EXTRACTABLE, extractable)}) {
    (*module_)->C_GetAttributeValue(session, found[0], &each, 1);
  }
  return Pkcs11Key{.handle = found[0],
                   .bytes = bytes,
                   .encrypts = encrypts == CK_TRUE,
                   .decrypts = decrypts == CK_TRUE,
                   .extractable = extractable == CK_TRUE};
}

// Finds slot and key, and logs in.
Status Pkcs11Token::connect() {
  if (pin_refused_) return std::unexpected(*pin_refused_);
  if (!module_) module_ = TRY(Pkcs11Module::open(settings_.module, settings_.init_args));
  slot_ = TRY(find_slot());
  CK_SESSION_HANDLE session = 0;
  TRY(check((*module_)->C_OpenSession(slot_, CKF_SERIAL_SESSION, nullptr, nullptr, &session),
            "open a session"));
  const auto in = log_in(session);
  auto key = in ? find_key(session) : Result<Pkcs11Key>(std::unexpected(in.error()));
  if (!key) {
    (*module_)->C_CloseSession(session);
    return std::unexpected(std::move(key).error());
  }
  key_ = *key;
  free_.push_back(session);
  connected_ = true;
  logger(log_category::kms).debug("Logged in to the token '{}' in slot {}", settings_.token, slot_);
  return {};
}

Result<Pkcs11Token::Session> Pkcs11Token::session(const CallContext& call) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (clock_.steady_now() >= call.deadline) {
      return fail(
          ErrorCode::kms_timeout,
          fmt::format("timed out while waiting for a session of the token '{}'", settings_.token));
    }
    if (!connected_) TRY(connect());
    if (!free_.empty()) {
      const auto session = free_.back();
      free_.pop_back();
      ++taken_;
      return Session(*this, session, epoch_, key_);
    }
    if (taken_ < sessions_max_) {
      CK_SESSION_HANDLE session = 0;
      const auto code =
          (*module_)->C_OpenSession(slot_, CKF_SERIAL_SESSION, nullptr, nullptr, &session);
      if (code == CKR_OK) {
        ++taken_;
        return Session(*this, session, epoch_, key_);
      }
      if (loses_session(code)) disconnect();
      if (code != CKR_SESSION_COUNT || taken_ == 0) {
        return std::unexpected(pkcs11_error(code, "open a session"));
      }
      sessions_max_ = taken_;  // others of the token hold the rest
    }
    free_again_.wait_until(lock, call.deadline);
  }
}

}  // namespace betrace::kms
