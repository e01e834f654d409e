// A PKCS#11 module whose answers a test orders: a token `fake` with the PIN `right` and an AES key
// `master`. What it seals is the plaintext and a sum over it and the additional data: enough to be
// refused under another context. It sees the tokens that were there when it was initialised, as
// SoftHSM does. Thread-safe.
#include "support/modules/fake_pkcs11.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

namespace betrace::kms {
namespace {

FakePkcs11& fake() {
  static FakePkcs11 instance;
  return instance;
}

CK_RV begin(const std::string& function) {
  std::unique_lock lock(fake().mutex);
  ++fake().counts[function];
  fake().released.wait(lock, [&] { return !fake().hanging.contains(function); });
  auto& [code, times] = fake().codes[function];
  return times-- > 0 ? code : CKR_OK;
}

FakePkcs11::Token token_now() {
  const std::lock_guard lock(fake().mutex);
  return fake().token;
}

// A call's CK_GCM_PARAMS in either form, with the nonce as it was then.
struct Params {
  std::string iv, aad;
  unsigned char* caller_iv = nullptr;
};
thread_local Params params;

std::string text(const unsigned char* bytes, CK_ULONG size) {
  return size == 0 ? std::string() : std::string(reinterpret_cast<const char*>(bytes), size);
}

CK_RV take(const CK_MECHANISM& mechanism, bool encrypting) {
  const auto token = token_now();
  if (mechanism.ulParameterLen != token.params_bytes) return CKR_MECHANISM_PARAM_INVALID;
  auto gcm = CK_GCM_PARAMS{};
  if (mechanism.ulParameterLen == sizeof gcm) {
    gcm = *static_cast<CK_GCM_PARAMS*>(mechanism.pParameter);
  } else {
    auto* const words = static_cast<void**>(mechanism.pParameter);
    gcm.pIv = static_cast<unsigned char*>(words[0]);
    std::memcpy(&gcm.ulIvLen, &words[1], sizeof gcm.ulIvLen);
    gcm.pAAD = static_cast<unsigned char*>(words[2]);
    std::memcpy(&gcm.ulAADLen, &words[3], sizeof gcm.ulAADLen);
  }
  params = {
      .iv = text(gcm.pIv, gcm.ulIvLen), .aad = text(gcm.pAAD, gcm.ulAADLen), .caller_iv = gcm.pIv};
  if (encrypting && token.appends_nonces) return params.iv.empty() ? CKR_OK : CKR_FUNCTION_FAILED;
  if (!encrypting || !token.makes_nonces) return CKR_OK;
  return params.iv == std::string(12, '\0') ? CKR_OK : CKR_ARGUMENTS_BAD;
}

constexpr CK_ULONG tag_bytes = 16;
void tag(const unsigned char* data, CK_ULONG size, unsigned char* out) {
  const auto token = token_now();
  std::uint64_t sum = 1469598103934665603ULL;
  const auto add = [&](const auto* bytes, CK_ULONG count) {
    for (CK_ULONG i = 0; i < count; ++i) {
      sum = (sum ^ static_cast<unsigned char>(bytes[i])) * 1099511628211ULL;
    }
  };
  add(params.iv.data(), params.iv.size());
  if (token.binds_contexts) add(params.aad.data(), params.aad.size());
  add(data, size);
  std::memcpy(out, &sum, 8);
  std::memcpy(out + 8, &sum, 8);
}

CK_RV initialize(void* args) {
  const auto code = begin("C_Initialize");
  const std::lock_guard lock(fake().mutex);
  fake().found_at_start = fake().token.copies;
  const bool alone = (static_cast<CK_C_INITIALIZE_ARGS*>(args)->flags & CKF_OS_LOCKING_OK) == 0;
  return code == CKR_CANT_LOCK && alone ? CKR_OK : code;
}
CK_RV finalize(void*) { return begin("C_Finalize"); }
CK_RV slots(unsigned char, CK_SLOT_ID* list, CK_ULONG* count) {
  if (const auto code = begin("C_GetSlotList"); code != CKR_OK) return code;
  const std::lock_guard lock(fake().mutex);
  *count = std::min(fake().found_at_start, fake().token.copies);
  for (CK_ULONG i = 0; list != nullptr && i < *count; ++i) list[i] = 7 + i;
  return CKR_OK;
}
CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO* info) {
  const auto token = token_now();
  std::memset(info->label, ' ', sizeof info->label);
  std::memcpy(info->label, "fake", 4);
  std::memset(info->serialNumber, ' ', sizeof info->serialNumber);
  info->serialNumber[0] = static_cast<unsigned char>('1' + slot - 7);
  info->ulMaxSessionCount = token.sessions_max;
  info->flags = token.flags;
  return begin("C_GetTokenInfo");
}
CK_RV open(CK_SLOT_ID, CK_FLAGS, void*, CK_NOTIFY, CK_SESSION_HANDLE* session) {
  static std::atomic<CK_SESSION_HANDLE> next = 1;
  if (const auto code = begin("C_OpenSession"); code != CKR_OK) return code;
  *session = next++;
  return CKR_OK;
}
CK_RV close(CK_SESSION_HANDLE) { return begin("C_CloseSession"); }
CK_RV log_in(CK_SESSION_HANDLE, CK_USER_TYPE, unsigned char* pin, CK_ULONG size) {
  if (const auto code = begin("C_Login"); code != CKR_OK) return code;
  return std::string(reinterpret_cast<char*>(pin), size) == "right" ? CKR_OK : CKR_PIN_INCORRECT;
}

thread_local CK_ULONG found_already = 0;
CK_RV find_init(CK_SESSION_HANDLE, CK_ATTRIBUTE*, CK_ULONG) {
  found_already = 0;
  return begin("C_FindObjectsInit");
}
// One by one, as a module may.
CK_RV find(CK_SESSION_HANDLE, CK_OBJECT_HANDLE* found, CK_ULONG, CK_ULONG* count) {
  *count = found_already < token_now().keys ? 1 : 0;
  if (*count == 1) *found = 5 + found_already++;
  return begin("C_FindObjects");
}
CK_RV find_final(CK_SESSION_HANDLE) { return CKR_OK; }
CK_RV attributes(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_ATTRIBUTE* wanted, CK_ULONG count) {
  if (const auto code = begin("C_GetAttributeValue"); code != CKR_OK) return code;
  const auto token = token_now();
  if (!token.says_attributes) return CKR_ATTRIBUTE_TYPE_INVALID;
  for (CK_ULONG i = 0; i < count; ++i) {
    const auto is = [&](bool value) {
      *static_cast<CK_BBOOL*>(wanted[i].pValue) = value ? CK_TRUE : CK_FALSE;
    };
    switch (wanted[i].type) {
      case CKA_VALUE_LEN:
        *static_cast<CK_ULONG*>(wanted[i].pValue) = token.key_bytes;
        break;
      case CKA_EXTRACTABLE:
        is(token.extractable);
        break;
      case CKA_PRIVATE:
        is(token.is_private);
        break;
      case CKA_ENCRYPT:
        is(token.encrypts);
        break;
      default:
        is(true);
    }
  }
  return CKR_OK;
}
CK_RV random(CK_SESSION_HANDLE, unsigned char* out, CK_ULONG size) {
  // No four bytes twice, and none of zeros.
  static std::atomic<std::uint32_t> next = 1;
  for (CK_ULONG at = 0; at < size; at += sizeof next) {
    const std::uint32_t number = next++;
    std::memcpy(out + at, &number, std::min<CK_ULONG>(sizeof number, size - at));
  }
  return begin("C_GenerateRandom");
}
CK_RV encrypt_init(CK_SESSION_HANDLE, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE) {
  if (const auto code = take(*mechanism, true); code != CKR_OK) return code;
  return begin("C_EncryptInit");
}
CK_RV encrypt(CK_SESSION_HANDLE, unsigned char* data, CK_ULONG size, unsigned char* out,
              CK_ULONG* written) {
  if (const auto code = begin("C_Encrypt"); code != CKR_OK) return code;
  const auto token = token_now();
  static std::atomic<char> next = 1;
  if (token.makes_nonces) {
    params.iv.assign(12, next++);
    if (token.keeps_nonces) std::memcpy(params.caller_iv, params.iv.data(), params.iv.size());
  }
  if (token.appends_nonces) params.iv.assign(16, next++);
  std::memcpy(out, data, size);
  tag(data, size, out + size);
  *written = size + tag_bytes;
  if (token.appends_nonces) {
    std::memcpy(out + *written, params.iv.data(), params.iv.size());
    *written += params.iv.size();
  }
  return CKR_OK;
}
CK_RV decrypt_init(CK_SESSION_HANDLE, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE) {
  if (const auto code = take(*mechanism, false); code != CKR_OK) return code;
  return begin("C_DecryptInit");
}
CK_RV decrypt(CK_SESSION_HANDLE, unsigned char* data, CK_ULONG size, unsigned char* out,
              CK_ULONG* written) {
  if (const auto code = begin("C_Decrypt"); code != CKR_OK) return code;
  unsigned char right[tag_bytes];
  tag(data, size - tag_bytes, right);
  if (std::memcmp(right, data + size - tag_bytes, tag_bytes) != 0) return CKR_GENERAL_ERROR;
  std::memcpy(out, data, size - tag_bytes);
  *written = size - tag_bytes;
  return CKR_OK;
}

CK_FUNCTION_LIST functions() {
  CK_FUNCTION_LIST list{};
  list.version = {2, 40};
  list.C_Initialize = initialize;
  list.C_Finalize = finalize;
  list.C_GetSlotList = slots;
  list.C_GetTokenInfo = token_info;
  list.C_OpenSession = open;
  list.C_CloseSession = close;
  list.C_Login = log_in;
  list.C_FindObjectsInit = find_init;
  list.C_FindObjects = find;
  list.C_FindObjectsFinal = find_final;
  list.C_GetAttributeValue = attributes;
  list.C_GenerateRandom = random;
  list.C_EncryptInit = encrypt_init;
  list.C_Encrypt = encrypt;
  list.C_DecryptInit = decrypt_init;
  list.C_Decrypt = decrypt;
  return list;
}

}  // namespace
}  // namespace betrace::kms

extern "C" {

CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {
  static CK_FUNCTION_LIST ours = betrace::kms::functions();
  *list = &ours;
  return CKR_OK;
}

void* fake_pkcs11() { return &betrace::kms::fake(); }
}
