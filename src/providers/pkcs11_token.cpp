#include "providers/pkcs11_token.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/try.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr CK_ULONG key_bytes = 32;

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

// Nothing where the module does not say, as some do of some.
template <class T>
std::optional<T> read(CK_FUNCTION_LIST& module, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key,
                      CK_ATTRIBUTE_TYPE type) {
  T value{};
  auto wanted = attribute(type, value);
  const auto code = module.C_GetAttributeValue(session, key, &wanted, 1);
  if (code != CKR_OK || wanted.ulValueLen != sizeof value) return std::nullopt;
  return value;
}

}  // namespace

Pkcs11Token::Pkcs11Token(const Pkcs11Settings& settings, const Clock& clock)
    : settings_(settings), clock_(clock) {}

Pkcs11Token::~Pkcs11Token() {
  const std::lock_guard lock(mutex_);
  // Others of this process may be logged in to the same token: only what is ours is closed.
  disconnect();
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
    module().C_CloseSession(session);
  }
}

// Sessions that others hold are closed when they come back.
void Pkcs11Token::disconnect() {
  for (const auto session : free_) module().C_CloseSession(session);
  free_.clear();
  taken_ = 0;
  use_.reset();
  ++epoch_;
  free_again_.notify_all();
}

Status Pkcs11Token::find_slot() {
  CK_ULONG count = 0;
  TRY(check(module().C_GetSlotList(CK_TRUE, nullptr, &count), "list the slots"));
  std::vector<CK_SLOT_ID> slots(count);
  TRY(check(module().C_GetSlotList(CK_TRUE, slots.data(), &count), "list the slots"));
  slots.resize(std::min<std::size_t>(count, slots.size()));
  std::size_t fitting = 0;
  std::string seen;
  for (const auto slot : slots) {
    CK_TOKEN_INFO info{};
    const auto said = module().C_GetTokenInfo(slot, &info);
    if (said != CKR_OK) {
      seen += fmt::format("{}one that says {}", seen.empty() ? "" : ", ", pkcs11_name(said));
      continue;
    }
    const auto label = trimmed(info.label, sizeof info.label);
    const auto serial = trimmed(info.serialNumber, sizeof info.serialNumber);
    if (label.empty()) continue;
    seen += fmt::format("{}'{}' (serial {})", seen.empty() ? "" : ", ", label, serial);
    if (label != settings_.token) continue;
    if (!settings_.serial.empty() && serial != settings_.serial) continue;
    ++fitting;
    slot_ = slot;
    flags_ = info.flags;
    const auto most = info.ulMaxSessionCount;
    const bool bounded = most != CK_UNAVAILABLE_INFORMATION && most != CK_EFFECTIVELY_INFINITE;
    sessions_max_ = bounded ? std::min<std::size_t>(most, sessions_wanted) : sessions_wanted;
  }
  if (settings_.module->serial()) sessions_max_ = 1;
  if (fitting == 1) return {};
  auto error = Error{.code = ErrorCode::kms_unavailable, .type = "CKR_TOKEN_NOT_PRESENT"};
  if (fitting == 0) {
    error.message = fmt::format(
        "no token is labelled '{}' (pkcs11.token-label){}; there are: {}", settings_.token,
        settings_.serial.empty()
            ? ""
            : fmt::format(" with the serial '{}' (pkcs11.token-serial)", settings_.serial),
        seen.empty() ? "none" : seen);
  } else {
    error.message = fmt::format(
        "more than one token is labelled '{}' (pkcs11.token-label); pkcs11.token-serial says "
        "which: {}",
        settings_.token, seen);
  }
  return std::unexpected(std::move(error));
}

Result<CK_SESSION_HANDLE> Pkcs11Token::open_session() {
  CK_SESSION_HANDLE session = 0;
  TRY(check(module().C_OpenSession(slot_, CKF_SERIAL_SESSION, nullptr, nullptr, &session),
            "open a session"));
  return session;
}

Result<CK_SESSION_HANDLE> Pkcs11Token::open_first_session() {
  use_ = TRY(settings_.module->use());
  auto found = find_slot();
  auto session = found ? open_session() : std::unexpected(std::move(found).error());
  if (!session) use_.reset();
  return session;
}

// Whoever runs the token can log in by hand, which gives the tries back, so that this is looked at
// each time.
Status Pkcs11Token::log_in(CK_SESSION_HANDLE session) {
  const bool locked = (flags_ & CKF_USER_PIN_LOCKED) != 0;
  if (locked || (flags_ & CKF_USER_PIN_FINAL_TRY) != 0) {
    return std::unexpected(
        Error{.code = ErrorCode::kms_access_denied,
              .message = fmt::format(
                  "the token '{}' {}: pkcs11.pin was not tried", settings_.token,
                  locked ? "has locked its user PIN (CKF_USER_PIN_LOCKED)"
                         : "locks its user PIN at the next wrong one (CKF_USER_PIN_FINAL_TRY)"),
              .type = locked ? "CKF_USER_PIN_LOCKED" : "CKF_USER_PIN_FINAL_TRY"});
  }
  const auto pin = settings_.pin.expose();
  const auto code =
      module().C_Login(session, CKU_USER, const_cast<CK_UTF8CHAR_PTR>(pin.data()), pin.size());
  if (code == CKR_OK || code == CKR_USER_ALREADY_LOGGED_IN) return {};
  // A token that wants no log-in may know none, e.g. for keys that its module protects.
  const bool unknown = code == CKR_USER_PIN_NOT_INITIALIZED || code == CKR_FUNCTION_NOT_SUPPORTED;
  if (unknown && (flags_ & CKF_LOGIN_REQUIRED) == 0) return {};
  auto error = pkcs11_error(code, fmt::format("log in to the token '{}'", settings_.token));
  if (error.code == ErrorCode::kms_access_denied) {
    error.message +=
        "; pkcs11.pin is not tried again before a restart, because wrong PINs lock a "
        "token";
    pin_refused_ = error;
  }
  return std::unexpected(std::move(error));
}

Result<CK_OBJECT_HANDLE> Pkcs11Token::find_key(CK_SESSION_HANDLE session) {
  CK_OBJECT_CLASS kind = CKO_SECRET_KEY;
  CK_KEY_TYPE type = CKK_AES;
  auto label = settings_.key;
  std::array wanted{attribute(CKA_CLASS, kind), attribute(CKA_KEY_TYPE, type),
                    CK_ATTRIBUTE{CKA_LABEL, label.data(), label.size()}};
  TRY(check(module().C_FindObjectsInit(session, wanted.data(), wanted.size()), "find the key"));
  std::vector<CK_OBJECT_HANDLE> all;
  std::array<CK_OBJECT_HANDLE, 2> found{};
  CK_ULONG count = 0;
  CK_RV code = CKR_OK;
  // A module may hand them out one by one.
  do {
    code = module().C_FindObjects(session, found.data(), found.size(), &count);
    if (code == CKR_OK) all.insert(all.end(), found.begin(), found.begin() + count);
  } while (code == CKR_OK && count > 0 && all.size() < 2);
  module().C_FindObjectsFinal(session);
  TRY(check(code, "find the key"));
  if (all.size() == 1) {
    TRY(check_key(session, all[0]));
    return all[0];
  }
  return fail(ErrorCode::kms_key_disabled,
              fmt::format("the token '{}' has {} labelled '{}' (pkcs11.key-label)", settings_.token,
                          all.empty() ? "no AES key" : "more than one AES key", settings_.key));
}

// What wraps every key must be as strong as they are, and must not leave the token.
Status Pkcs11Token::check_key(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) {
  const auto no = [&](CK_ATTRIBUTE_TYPE type) {
    return read<CK_BBOOL>(module(), session, key, type) == CK_FALSE;
  };
  const auto bytes = read<CK_ULONG>(module(), session, key, CKA_VALUE_LEN).value_or(key_bytes);
  if (bytes != key_bytes) {
    return fail(ErrorCode::kms_key_disabled,
                fmt::format("the AES key '{}' (pkcs11.key-label) has {} bits; accepted are 256",
                            settings_.key, bytes * 8));
  }
  if (no(CKA_ENCRYPT) || no(CKA_DECRYPT)) {
    return fail(ErrorCode::kms_key_disabled,
                fmt::format("the AES key '{}' (pkcs11.key-label) is without CKA_ENCRYPT or "
                            "CKA_DECRYPT",
                            settings_.key));
  }
  if (std::exchange(warned_, true)) return {};
  auto& log = logger(log_category::kms);
  if (no(CKA_PRIVATE)) {
    log.warn(
        "Whoever reaches the token '{}' uses the master key '{}' without the PIN: its CKA_PRIVATE "
        "is false",
        settings_.token, settings_.key);
  }
  if (read<CK_BBOOL>(module(), session, key, CKA_EXTRACTABLE) == CK_TRUE) {
    log.warn("The master key '{}' can be taken off the token '{}': its CKA_EXTRACTABLE is true",
             settings_.key, settings_.token);
  }
  return {};
}

// Most modules look for tokens only when they are initialised: one that is missed is looked for
// once more. A PIN is not tried twice.
Status Pkcs11Token::connect() {
  if (pin_refused_) return std::unexpected(*pin_refused_);
  auto& loaded = *settings_.module;
  auto session = open_first_session();
  if (!session && session.error().code == ErrorCode::kms_unavailable && loaded.finalize()) {
    session = open_first_session();
  }
  if (!session) return std::unexpected(std::move(session).error());
  const auto in = log_in(*session);
  auto key = in ? find_key(*session) : std::unexpected(in.error());
  if (!key) {
    module().C_CloseSession(*session);
    use_.reset();
    if (key.error().code == ErrorCode::kms_unavailable) (void)loaded.finalize();
    return std::unexpected(std::move(key).error());
  }
  key_ = *key;
  free_.push_back(*session);
  logger(log_category::kms).info("Logged in to the token '{}' in slot {}", settings_.token, slot_);
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
    if (!use_) TRY(connect());
    if (!free_.empty()) {
      const auto session = free_.back();
      free_.pop_back();
      ++taken_;
      return Session(*this, session);
    }
    if (taken_ < sessions_max_) {
      const auto opened = open_session();
      if (opened) {
        ++taken_;
        return Session(*this, *opened);
      }
      // Others may hold what the token has beyond ours.
      if (opened.error().type != "CKR_SESSION_COUNT") {
        disconnect();
        return std::unexpected(opened.error());
      }
    }
    free_again_.wait_until(lock, call.deadline);
  }
}

}  // namespace betrace::kms
