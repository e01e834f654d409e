// A PKCS#11 module, loaded and initialised: one for each path in a process, however many providers
// use it, because the standard has one C_Initialize for a process. Stays loaded to the end: what a
// module does when it is finalised in a process of many threads is its own. Thread-safe, as
// CKF_OS_LOCKING_OK asks for.
#pragma once

#include <memory>
#include <string>

#include <p11-kit/pkcs11.h>

#include "betrace/kms/result.h"

namespace betrace::kms {

class Pkcs11Module {
 public:
  // Errors: invalid_argument when the file is no such module, or when it was initialised with other
  // arguments; kms_unavailable when it cannot be initialised.
  static Result<std::shared_ptr<Pkcs11Module>> open(const std::string& path,
                                                    const std::string& init_args);

  CK_FUNCTION_LIST& operator*() const { return *functions_; }
  CK_FUNCTION_LIST* operator->() const { return functions_; }

 private:
  Pkcs11Module(CK_FUNCTION_LIST* functions, std::string init_args)
      : functions_(functions), init_args_(std::move(init_args)) {}

  CK_FUNCTION_LIST* const functions_;
  std::string init_args_;
};

// "CKR_PIN_INCORRECT", or "CKR 0x80000001" for a vendor's own.
std::string pkcs11_name(CK_RV code);
// Its class; `purpose` for the message: "Failed to encrypt: CKR_…".
Error pkcs11_error(CK_RV code, std::string_view purpose);
// Whether sessions, log-in and handles must be had anew after it.
bool loses_session(CK_RV code);

}  // namespace betrace::kms
