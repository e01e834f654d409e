// SoftHSM2 with a token of a test's own: its folder, a label, a PIN, and AES keys. One
// configuration for a process, as SoftHSM reads it once; further tokens are further labels. Not
// thread-safe.
#pragma once

#include <memory>
#include <string>

#include "providers/pkcs11_module.h"

namespace betrace::kms {

class SoftHsm {
 public:
  static constexpr const char* module_path = "/usr/lib/softhsm/libsofthsm2.so";
  static constexpr const char* pin = "canary-pin-4711";

  // Makes the token. Throws when softhsm2-util cannot.
  explicit SoftHsm(std::string label);
  const std::string& label() const { return label_; }
  // An AES key of so many bytes that may encrypt and decrypt.
  void make_key(const std::string& label, CK_ULONG bytes = 32);
  void destroy_key(const std::string& label);

 private:
  CK_SESSION_HANDLE open();
  const std::string label_;
  std::shared_ptr<Pkcs11Module> module_;
  std::shared_ptr<void> use_;
};

}  // namespace betrace::kms
