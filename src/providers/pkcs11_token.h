// A token of a PKCS#11 module, logged in to, with the master key found and sessions kept for use: a
// session is one caller's at a time. What the token loses (it was removed, or restarted) is had
// anew at the next call; a PIN that was refused is never tried again, because a few wrong ones lock
// a token for good. Thread-safe.
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

struct Pkcs11Key {
  CK_OBJECT_HANDLE handle = 0;
  CK_ULONG bytes = 0;
  bool encrypts = false, decrypts = false, extractable = false;
};

class Pkcs11Token {
 public:
  // Both must outlive it.
  Pkcs11Token(const Pkcs11Settings& settings, const Clock& clock);
  ~Pkcs11Token();

  // A session for one caller, given back when it goes.
  class Session {
   public:
    Session(Pkcs11Token& token, CK_SESSION_HANDLE handle, std::uint64_t epoch, Pkcs11Key key)
        : token_(&token), handle_(handle), epoch_(epoch), key_(key) {}
    Session(Session&& other) noexcept
        : token_(std::exchange(other.token_, nullptr)),
          handle_(other.handle_),
          epoch_(other.epoch_),
          key_(other.key_) {}
    Session& operator=(Session&&) = delete;
    ~Session();

    CK_FUNCTION_LIST& module() const { return **token_->module_; }
    CK_SESSION_HANDLE handle() const { return handle_; }
    const Pkcs11Key& key() const { return key_; }
    // What the module answered shows that sessions and handles are gone: the next are had anew.
    void lose();

   private:
    Pkcs11Token* token_;
    CK_SESSION_HANDLE handle_;
    std::uint64_t epoch_;
    Pkcs11Key key_;
  };

  // Waits for a free one until the deadline of `call`. Errors: kms_access_denied for the PIN,
  // kms_key_disabled when there is no key of the label or more than one, kms_unavailable,
  // kms_timeout, invalid_argument for the module.
  Result<Session> session(const CallContext& call);

 private:
  Status log_in(CK_SESSION_HANDLE session);
  Status connect();
  Result<CK_SLOT_ID> find_slot();
  Result<Pkcs11Key> find_key(CK_SESSION_HANDLE session);
  void give_back(CK_SESSION_HANDLE session, std::uint64_t epoch);
  void disconnect();

  const Pkcs11Settings& settings_;
  const Clock& clock_;
  std::shared_ptr<Pkcs11Module> module_;
  std::mutex mutex_;  // of all below
  std::condition_variable free_again_;
  bool connected_ = false;
  std::uint64_t epoch_ = 0;  // of sessions; those of an older one are gone
  CK_SLOT_ID slot_ = 0;
  Pkcs11Key key_;
  std::size_t sessions_max_ = 0;
  std::size_t taken_ = 0;
  std::vector<CK_SESSION_HANDLE> free_;
  std::optional<Error> pin_refused_;
};

}  // namespace betrace::kms
