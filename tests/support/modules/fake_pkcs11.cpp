// A PKCS#11 module whose answers a test orders: a token `fake` with the PIN `right` and an AES key
// `master`. What it seals is the plaintext and a sum over it and the additional data: enough to be
// refused under another context. Thread-safe.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include <p11-kit/pkcs11.h>

namespace {

struct Script {
  std::mutex mutex;
  std::map<std::string, std::pair<CK_RV, int>> codes;  // function → code, how often
  std::map<std::string, int> calls;
  CK_ULONG sessions_max = 0, keys = 1;
};
Script& script() {
  static Script instance;
  return instance;
}

CK_RV begin(const std::string& function) {
  const std::lock_guard lock(script().mutex);
  ++script().calls[function];
  auto& [code, times] = script().codes[function];
  return times-- > 0 ? code : CKR_OK;
}

constexpr CK_ULONG tag_bytes = 16;
void tag(const CK_GCM_PARAMS& gcm, const unsigned char* data, CK_ULONG size, unsigned char* out) {
  std::uint64_t sum = 1469598103934665603ULL;
  const auto add = [&](const unsigned char* bytes, CK_ULONG count) {
    for (CK_ULONG i = 0; i < count; ++i) sum = (sum ^ bytes[i]) * 1099511628211ULL;
  };
  add(gcm.pIv, gcm.ulIvLen);
  add(gcm.pAAD, gcm.ulAADLen);
  add(data, size);
  std::memcpy(out, &sum, 8);
  std::memcpy(out + 8, &sum, 8);
}

thread_local CK_GCM_PARAMS params;

CK_RV initialize(void*) { return begin("C_Initialize"); }
CK_RV slots(unsigned char, CK_SLOT_ID* list, CK_ULONG* count) {
  if (const auto code = begin("C_GetSlotList"); code != CKR_OK) return code;
  if (list != nullptr) *list = 7;
  *count = 1;
  return CKR_OK;
}
CK_RV token(CK_SLOT_ID, CK_TOKEN_INFO* info) {
  std::memset(info->label, ' ', sizeof info->label);
  std::memcpy(info->label, "fake", 4);
  info->ulMaxSessionCount = script().sessions_max;
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
CK_RV find_init(CK_SESSION_HANDLE, CK_ATTRIBUTE*, CK_ULONG) { return begin("C_FindObjectsInit"); }
CK_RV find(CK_SESSION_HANDLE, CK_OBJECT_HANDLE* found, CK_ULONG most, CK_ULONG* count) {
  *count = std::min(most, script().keys);
  for (CK_ULONG i = 0; i < *count; ++i) found[i] = 5 + i;
  return begin("C_FindObjects");
}
CK_RV find_final(CK_SESSION_HANDLE) { return CKR_OK; }
CK_RV attributes(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_ATTRIBUTE* wanted, CK_ULONG count) {
  if (const auto code = begin("C_GetAttributeValue"); code != CKR_OK) return code;
  for (CK_ULONG i = 0; i < count; ++i) {
    if (wanted[i].type == CKA_VALUE_LEN) {
      *static_cast<CK_ULONG*>(wanted[i].pValue) = 32;
    } else {
      *static_cast<CK_BBOOL*>(wanted[i].pValue) = CK_TRUE;
    }
  }
  return CKR_OK;
}
CK_RV random(CK_SESSION_HANDLE, unsigned char* out, CK_ULONG size) {
  static std::atomic<unsigned char> next = 1;
  std::memset(out, next++, size);
  return begin("C_GenerateRandom");
}
CK_RV encrypt_init(CK_SESSION_HANDLE, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE) {
  params = *static_cast<CK_GCM_PARAMS*>(mechanism->pParameter);
  return begin("C_EncryptInit");
}
CK_RV encrypt(CK_SESSION_HANDLE, unsigned char* data, CK_ULONG size, unsigned char* out,
              CK_ULONG* written) {
  if (const auto code = begin("C_Encrypt"); code != CKR_OK) return code;
  std::memcpy(out, data, size);
  tag(params, data, size, out + size);
  *written = size + tag_bytes;
  return CKR_OK;
}
CK_RV decrypt_init(CK_SESSION_HANDLE, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE) {
  params = *static_cast<CK_GCM_PARAMS*>(mechanism->pParameter);
  return begin("C_DecryptInit");
}
CK_RV decrypt(CK_SESSION_HANDLE, unsigned char* data, CK_ULONG size, unsigned char* out,
              CK_ULONG* written) {
  if (const auto code = begin("C_Decrypt"); code != CKR_OK) return code;
  unsigned char right[tag_bytes];
  tag(params, data, size - tag_bytes, right);
  if (std::memcmp(right, data + size - tag_bytes, tag_bytes) != 0) return CKR_GENERAL_ERROR;
  std::memcpy(out, data, size - tag_bytes);
  *written = size - tag_bytes;
  return CKR_OK;
}

CK_FUNCTION_LIST functions() {
  CK_FUNCTION_LIST list{};
  list.version = {2, 40};
  list.C_Initialize = initialize;
  list.C_GetSlotList = slots;
  list.C_GetTokenInfo = token;
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

extern "C" {

CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {
  static CK_FUNCTION_LIST ours = functions();
  *list = &ours;
  return CKR_OK;
}

// --- the test's
// -----------------------------------------------------------------------------------

void fake_pkcs11_answer(const char* function, CK_RV code, int times) {
  const std::lock_guard lock(script().mutex);
  script().codes[function] = {code, times};
}
int fake_pkcs11_calls(const char* function) {
  const std::lock_guard lock(script().mutex);
  return script().calls[function];
}
void fake_pkcs11_reset(CK_ULONG sessions_max, CK_ULONG keys) {
  const std::lock_guard lock(script().mutex);
  script().codes.clear();
  script().calls.clear();
  script().sessions_max = sessions_max;
  script().keys = keys;
}
}
