// A token of a PKCS#11 module, logged in to, with the master key found and sessions kept for use: a
// session is one caller's at a time. What the token loses (it was removed, or restarted) is had
// anew at the next call; a PIN that was refused is never tried again, and none is tried when it is
// the token's last, because a few wrong ones lock a token for good. Thread-safe.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"

#include "providers/pkcs11_module.h"
#include "providers/pkcs11_settings.h"

namespace betrace::kms {

class Pkcs11Token {
 public:
  static constexpr std::size_t sessions_wanted = 16;  // as many as there are threads for providers

  // Both must outlive it.
  Pkcs11Token(const Pkcs11Settings& settings, const Clock& clock);
  ~Pkcs11Token();

  // A session for one caller, given back when it goes.
  class Session {
   public:
    Session(Pkcs11Token& token, CK_SESSION_HANDLE handle)
        : token_(&token),
          use_(token.use_),
          handle_(handle),
          epoch_(token.epoch_),
          key_(token.key_) {}
    Session(Session&& other) noexcept
        : token_(std::exchange(other.token_, nullptr)),
          use_(std::move(other.use_)),
          handle_(other.handle_),
          epoch_(other.epoch_),
          key_(other.key_) {}
    Session& operator=(Session&&) = delete;
    ~Session();

    CK_FUNCTION_LIST& module() const { return **token_->settings_.module; }
    CK_SESSION_HANDLE handle() const { return handle_; }
    CK_OBJECT_HANDLE key() const { return key_; }
    // Of the log-in: another one, another number.
    std::uint64_t epoch() const { return epoch_; }
    // What the module answered shows that sessions and handles are gone: the next are had anew.
    void lose();

   private:
    Pkcs11Token* token_;
    std::shared_ptr<void> use_;
    CK_SESSION_HANDLE handle_;
    std::uint64_t epoch_;
    CK_OBJECT_HANDLE key_;
  };

  // Waits for a free one until the deadline of `call`. Errors: kms_access_denied for the PIN,
  // kms_key_disabled when there is no key of the label, more than one, or one that cannot wrap;
  // kms_unavailable, kms_timeout.
  Result<Session> session(const CallContext& call);

 private:
  CK_FUNCTION_LIST& module() const { return **settings_.module; }
  Status log_in(CK_SESSION_HANDLE session);
  Status connect();
  Status find_slot();
  Result<CK_SESSION_HANDLE> open_first_session();
  Result<CK_SESSION_HANDLE> open_session();
  Result<CK_OBJECT_HANDLE> find_key(CK_SESSION_HANDLE session);
  Status check_key(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key);
  void give_back(CK_SESSION_HANDLE session, std::uint64_t epoch);
  void disconnect();

  const Pkcs11Settings& settings_;
  const Clock& clock_;
  std::mutex mutex_;  // of all below
  std::condition_variable free_again_;
  std::shared_ptr<void> use_;  // of the module, while connected
  std::uint64_t epoch_ = 0;    // of sessions; those of an older one are gone
  CK_SLOT_ID slot_ = 0;
  CK_FLAGS flags_ = 0;  // of the token
  CK_OBJECT_HANDLE key_ = 0;
  std::size_t sessions_max_ = 0;
  std::size_t taken_ = 0;
  std::vector<CK_SESSION_HANDLE> free_;
  std::optional<Error> pin_refused_;
  bool warned_ = false;
};

}  // namespace betrace::kms
