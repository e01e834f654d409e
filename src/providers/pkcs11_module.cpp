#include "providers/pkcs11_module.h"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>

#include <dlfcn.h>
#include <fmt/format.h>

#include "base/try.h"

namespace betrace::kms {
namespace {

struct Meaning {
  CK_RV code;
  std::string_view name;
  ErrorCode kind;
};
// OASIS PKCS#11 v2.40, section 5.1. What is not here is an outage of the token.
constexpr CK_RV aead_decrypt_failed = 0x35;  // CKR_AEAD_DECRYPT_FAILED of version 3.0
constexpr std::array meanings{
    Meaning{CKR_PIN_INCORRECT, "CKR_PIN_INCORRECT", ErrorCode::kms_access_denied},
    Meaning{CKR_PIN_INVALID, "CKR_PIN_INVALID", ErrorCode::kms_access_denied},
    Meaning{CKR_PIN_LEN_RANGE, "CKR_PIN_LEN_RANGE", ErrorCode::kms_access_denied},
    Meaning{CKR_PIN_EXPIRED, "CKR_PIN_EXPIRED", ErrorCode::kms_access_denied},
    Meaning{CKR_PIN_LOCKED, "CKR_PIN_LOCKED", ErrorCode::kms_access_denied},
    Meaning{CKR_USER_PIN_NOT_INITIALIZED, "CKR_USER_PIN_NOT_INITIALIZED",
            ErrorCode::kms_access_denied},
    Meaning{CKR_USER_TYPE_INVALID, "CKR_USER_TYPE_INVALID", ErrorCode::kms_access_denied},
    Meaning{CKR_KEY_FUNCTION_NOT_PERMITTED, "CKR_KEY_FUNCTION_NOT_PERMITTED",
            ErrorCode::kms_access_denied},
    Meaning{CKR_KEY_TYPE_INCONSISTENT, "CKR_KEY_TYPE_INCONSISTENT", ErrorCode::kms_key_disabled},
    Meaning{CKR_KEY_SIZE_RANGE, "CKR_KEY_SIZE_RANGE", ErrorCode::kms_key_disabled},
    Meaning{CKR_MECHANISM_INVALID, "CKR_MECHANISM_INVALID", ErrorCode::kms_key_disabled},
    Meaning{CKR_MECHANISM_PARAM_INVALID, "CKR_MECHANISM_PARAM_INVALID",
            ErrorCode::kms_key_disabled},
    Meaning{CKR_ARGUMENTS_BAD, "CKR_ARGUMENTS_BAD", ErrorCode::kms_key_disabled},
    Meaning{CKR_ENCRYPTED_DATA_INVALID, "CKR_ENCRYPTED_DATA_INVALID",
            ErrorCode::invalid_ciphertext},
    Meaning{CKR_ENCRYPTED_DATA_LEN_RANGE, "CKR_ENCRYPTED_DATA_LEN_RANGE",
            ErrorCode::invalid_ciphertext},
    Meaning{CKR_SIGNATURE_INVALID, "CKR_SIGNATURE_INVALID", ErrorCode::invalid_ciphertext},
    Meaning{aead_decrypt_failed, "CKR_AEAD_DECRYPT_FAILED", ErrorCode::invalid_ciphertext},
    Meaning{CKR_DATA_LEN_RANGE, "CKR_DATA_LEN_RANGE", ErrorCode::invalid_argument},
    Meaning{CKR_DATA_INVALID, "CKR_DATA_INVALID", ErrorCode::kms_unavailable},
    Meaning{CKR_BUFFER_TOO_SMALL, "CKR_BUFFER_TOO_SMALL", ErrorCode::kms_unavailable},
    Meaning{CKR_OPERATION_ACTIVE, "CKR_OPERATION_ACTIVE", ErrorCode::kms_unavailable},
    Meaning{CKR_OPERATION_NOT_INITIALIZED, "CKR_OPERATION_NOT_INITIALIZED",
            ErrorCode::kms_unavailable},
    Meaning{CKR_GENERAL_ERROR, "CKR_GENERAL_ERROR", ErrorCode::kms_unavailable},
    Meaning{CKR_FUNCTION_FAILED, "CKR_FUNCTION_FAILED", ErrorCode::kms_unavailable},
    Meaning{CKR_HOST_MEMORY, "CKR_HOST_MEMORY", ErrorCode::kms_unavailable},
    Meaning{CKR_DEVICE_ERROR, "CKR_DEVICE_ERROR", ErrorCode::kms_unavailable},
    Meaning{CKR_DEVICE_MEMORY, "CKR_DEVICE_MEMORY", ErrorCode::kms_unavailable},
    Meaning{CKR_DEVICE_REMOVED, "CKR_DEVICE_REMOVED", ErrorCode::kms_unavailable},
    Meaning{CKR_SLOT_ID_INVALID, "CKR_SLOT_ID_INVALID", ErrorCode::kms_unavailable},
    Meaning{CKR_TOKEN_NOT_PRESENT, "CKR_TOKEN_NOT_PRESENT", ErrorCode::kms_unavailable},
    Meaning{CKR_TOKEN_NOT_RECOGNIZED, "CKR_TOKEN_NOT_RECOGNIZED", ErrorCode::kms_unavailable},
    Meaning{CKR_SESSION_COUNT, "CKR_SESSION_COUNT", ErrorCode::kms_unavailable},
    Meaning{CKR_SESSION_CLOSED, "CKR_SESSION_CLOSED", ErrorCode::kms_unavailable},
    Meaning{CKR_SESSION_HANDLE_INVALID, "CKR_SESSION_HANDLE_INVALID", ErrorCode::kms_unavailable},
    Meaning{CKR_USER_NOT_LOGGED_IN, "CKR_USER_NOT_LOGGED_IN", ErrorCode::kms_unavailable},
    Meaning{CKR_KEY_HANDLE_INVALID, "CKR_KEY_HANDLE_INVALID", ErrorCode::kms_unavailable},
    Meaning{CKR_OBJECT_HANDLE_INVALID, "CKR_OBJECT_HANDLE_INVALID", ErrorCode::kms_unavailable},
    Meaning{CKR_CRYPTOKI_NOT_INITIALIZED, "CKR_CRYPTOKI_NOT_INITIALIZED",
            ErrorCode::kms_unavailable},
};

const Meaning* meaning_of(CK_RV code) {
  const auto* found = std::ranges::find(meanings, code, &Meaning::code);
  return found == meanings.end() ? nullptr : found;
}

Result<CK_FUNCTION_LIST*> load(const std::string& path) {
  const auto unusable = [&](std::string_view why) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("pkcs11.module='{}': {}; accepted is the path of a PKCS#11 module", path, why));
  };
  void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return unusable(::dlerror());
  const auto get = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(library, "C_GetFunctionList"));
  CK_FUNCTION_LIST* functions = nullptr;
  if (get == nullptr || get(&functions) != CKR_OK || functions == nullptr) {
    return unusable("it has no C_GetFunctionList");
  }
  if (functions->version.major < 2) return unusable("it speaks PKCS#11 1.x");
  return functions;
}

}  // namespace

// By what the file answered, not by its path: a module has several.
Result<std::shared_ptr<Pkcs11Module>> Pkcs11Module::open(const std::string& path,
                                                         const std::string& init_args) {
  static std::mutex mutex;
  // To the end of the process: a call that hangs may outlive main().
  static auto& loaded = *new std::map<CK_FUNCTION_LIST*, std::shared_ptr<Pkcs11Module>>;
  const std::lock_guard lock(mutex);
  auto* const functions = TRY(load(path));
  auto& module = loaded[functions];
  if (!module) module.reset(new Pkcs11Module(functions, path, init_args));
  if (module->init_args_ == init_args) return module;
  return fail(ErrorCode::invalid_argument,
              fmt::format("pkcs11.init-args='{}': the module {} is in use with others, and a "
                          "process can initialise it once",
                          init_args, path));
}

Status Pkcs11Module::initialize() {
  // NSS's structure is longer by what the standard calls reserved, and softokn takes its
  // configuration where the standard says NULL.
  struct {
    CK_C_INITIALIZE_ARGS standard{};
    void* reserved = nullptr;
  } args;
  args.standard.flags = CKF_OS_LOCKING_OK;
  if (!init_args_.empty()) args.standard.pReserved = init_args_.data();
  auto code = functions_->C_Initialize(&args);
  serial_ = code == CKR_CANT_LOCK;
  if (serial_) {
    args.standard.flags = 0;
    code = functions_->C_Initialize(&args);
  }
  by_others_ = code == CKR_CRYPTOKI_ALREADY_INITIALIZED;
  initialized_ = code == CKR_OK || by_others_;
  if (initialized_) return {};
  auto error = pkcs11_error(code, fmt::format("initialise the PKCS#11 module {}", path_));
  error.code = ErrorCode::kms_unavailable;
  return std::unexpected(std::move(error));
}

Result<std::shared_ptr<void>> Pkcs11Module::use() {
  const std::lock_guard lock(mutex_);
  if (!initialized_) TRY(initialize());
  auto held = used_.lock();
  if (held && serial_) {
    return fail(ErrorCode::kms_unavailable,
                fmt::format("the PKCS#11 module {} cannot lock (CKR_CANT_LOCK), and has a user "
                            "already: it cannot have two",
                            path_));
  }
  if (!held) {
    held = std::make_shared<char>();
    used_ = held;
  }
  return held;
}

bool Pkcs11Module::finalize() {
  const std::lock_guard lock(mutex_);
  if (!initialized_ || by_others_ || !used_.expired()) return false;
  initialized_ = functions_->C_Finalize(nullptr) != CKR_OK;
  return !initialized_;
}

std::string pkcs11_name(CK_RV code) {
  const auto* known = meaning_of(code);
  return known != nullptr ? std::string(known->name) : fmt::format("CKR {:#x}", code);
}

Error pkcs11_error(CK_RV code, std::string_view purpose) {
  const auto* known = meaning_of(code);
  return {.code = known != nullptr ? known->kind : ErrorCode::kms_unavailable,
          .message = fmt::format("Failed to {}: {}", purpose, pkcs11_name(code)),
          .type = pkcs11_name(code)};
}

bool loses_session(CK_RV code) {
  switch (code) {
    case CKR_SLOT_ID_INVALID:
    case CKR_SESSION_CLOSED:
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_DEVICE_ERROR:
    case CKR_DEVICE_REMOVED:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_TOKEN_NOT_RECOGNIZED:
    case CKR_USER_NOT_LOGGED_IN:
    case CKR_KEY_HANDLE_INVALID:
    case CKR_OBJECT_HANDLE_INVALID:
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    // What a session was left in: only closing it ends that.
    case CKR_OPERATION_ACTIVE:
    case CKR_BUFFER_TOO_SMALL:
      return true;
    default:
      return false;
  }
}

}  // namespace betrace::kms
