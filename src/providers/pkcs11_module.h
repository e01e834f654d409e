// A PKCS#11 module: one in a process, however many providers use it, because the standard has one
// C_Initialize for a process. Initialised at its first use, and once more where nobody uses it and
// a token is missed: most modules look for tokens only then. Thread-safe; calls into it are as
// CKF_OS_LOCKING_OK has them, or by one user with one session where it cannot lock.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include <p11-kit/pkcs11.h>

#include "betrace/kms/result.h"

namespace betrace::kms {

class Pkcs11Module {
 public:
  // Loads it. Errors: invalid_argument when the file is no such module, or when it was loaded with
  // other arguments.
  static Result<std::shared_ptr<Pkcs11Module>> open(const std::string& path,
                                                    const std::string& init_args);

  // Whoever calls it holds one: it is initialised, and not finalised meanwhile. Errors:
  // kms_unavailable when it cannot be initialised, or has its one user already.
  Result<std::shared_ptr<void>> use();
  // The next use() initialises it anew. False, and nothing is done, while somebody uses it, or
  // where somebody else of this process initialised it.
  bool finalize();
  // Whether it may be called by one thread at a time. Asked by who holds a use.
  bool serial() const { return serial_; }

  CK_FUNCTION_LIST& operator*() const { return *functions_; }
  CK_FUNCTION_LIST* operator->() const { return functions_; }

 private:
  Pkcs11Module(CK_FUNCTION_LIST* functions, std::string path, std::string init_args)
      : functions_(functions), path_(std::move(path)), init_args_(std::move(init_args)) {}
  Status initialize();

  CK_FUNCTION_LIST* const functions_;
  const std::string path_;
  std::string init_args_;
  std::mutex mutex_;  // of all below
  bool initialized_ = false, by_others_ = false, serial_ = false;
  std::weak_ptr<void> used_;
};

// "CKR_PIN_INCORRECT", or "CKR 0x80000001" for a vendor's own.
std::string pkcs11_name(CK_RV code);
// Its class; `purpose` for the message: "Failed to encrypt: CKR_…".
Error pkcs11_error(CK_RV code, std::string_view purpose);
// Whether sessions, log-in and handles must be had anew after it.
bool loses_session(CK_RV code);

}  // namespace betrace::kms
