// What a test orders of the PKCS#11 module in fake_pkcs11.cpp, and sees of it. One in a
// copy of the module.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include <p11-kit/pkcs11.h>

namespace betrace::kms {

struct FakePkcs11 {
  // As the token is from now on.
  struct Token {
    CK_ULONG copies = 1;  // tokens of its label, with the serials "1" and so on
    CK_FLAGS flags = 0;
    CK_ULONG sessions_max = 0;  // 0: as many as are wanted
    CK_ULONG keys = 1, key_bytes = 32;
    bool says_attributes = true, is_private = true, extractable = false, encrypts = true;
    CK_ULONG params_bytes = sizeof(CK_GCM_PARAMS);  // that CKM_AES_GCM takes
    bool makes_nonces = false;                      // and takes zeros only, as AWS CloudHSM
    bool appends_nonces = false;                    // and takes none, as Thales Luna in FIPS mode
    bool binds_contexts = true, keeps_nonces = true;
  };

  // `function` answers `code` so many times.
  void answer(const std::string& function, CK_RV code, int times) {
    const std::lock_guard lock(mutex);
    codes[function] = {code, times};
  }
  int calls(const std::string& function) {
    const std::lock_guard lock(mutex);
    return counts[function];
  }
  // Calls of `function` end when `hangs` is false again.
  void hang(const std::string& function, bool hangs) {
    const std::lock_guard lock(mutex);
    hangs ? (void)hanging.insert(function) : (void)hanging.erase(function);
    released.notify_all();
  }
  void reset() {
    const std::lock_guard lock(mutex);
    codes.clear();
    counts.clear();
    token = {};
  }

  std::mutex mutex;  // of all
  std::condition_variable released;
  std::map<std::string, std::pair<CK_RV, int>> codes;
  std::map<std::string, int> counts;
  std::set<std::string> hanging;
  Token token;
  CK_ULONG found_at_start = 0;  // tokens that C_Initialize saw
};

}  // namespace betrace::kms

// Of the module; its type is the above.
extern "C" void* fake_pkcs11();
