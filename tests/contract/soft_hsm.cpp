#include "contract/soft_hsm.h"

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <vector>

#include <fmt/format.h>

namespace betrace::kms {
namespace {

// Gone when the process ends.
struct Folder {
  std::string path = (std::filesystem::temp_directory_path() / "softhsm-XXXXXX").string();
  Folder() {
    if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error("mkdtemp");
    std::filesystem::create_directory(path + "/tokens");
    std::ofstream(path + "/softhsm2.conf")
        << "directories.tokendir = " << path << "/tokens\nlog.level = ERROR\n";
    ::setenv("SOFTHSM2_CONF", (path + "/softhsm2.conf").c_str(), 1);
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

void must(CK_RV code, const char* what) {
  if (code != CKR_OK) throw std::runtime_error(fmt::format("{}: {}", what, pkcs11_name(code)));
}

}  // namespace

SoftHsm::SoftHsm(std::string label) : label_(std::move(label)) {
  static const Folder folder;
  const auto command =
      fmt::format("softhsm2-util --init-token --free --label '{}' --pin {} --so-pin {} > /dev/null",
                  label_, pin, pin);
  if (std::system(command.c_str()) != 0) throw std::runtime_error(command);
  auto module = Pkcs11Module::open(module_path, "");
  if (!module) throw std::runtime_error(module.error().message);
  module_ = *std::move(module);
  use_ = module_->use().value();
}

CK_SESSION_HANDLE SoftHsm::open() {
  auto& hsm = **module_;
  CK_ULONG count = 0;
  must(hsm.C_GetSlotList(CK_TRUE, nullptr, &count), "slots");
  std::vector<CK_SLOT_ID> slots(count);
  must(hsm.C_GetSlotList(CK_TRUE, slots.data(), &count), "slots");
  for (const auto slot : slots) {
    CK_TOKEN_INFO info{};
    must(hsm.C_GetTokenInfo(slot, &info), "token");
    std::string label(reinterpret_cast<const char*>(info.label), sizeof info.label);
    label.erase(label.find_last_not_of(' ') + 1);
    if (label != label_) continue;
    CK_SESSION_HANDLE session = 0;
    must(hsm.C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session),
         "session");
    std::string secret(pin);
    const auto code = hsm.C_Login(session, CKU_USER,
                                  reinterpret_cast<CK_UTF8CHAR_PTR>(secret.data()), secret.size());
    if (code != CKR_USER_ALREADY_LOGGED_IN) must(code, "log-in");
    return session;
  }
  throw std::runtime_error("no token " + label_);
}

void SoftHsm::make_key(const std::string& label, CK_ULONG bytes) {
  const auto session = open();
  CK_BBOOL yes = CK_TRUE;
  std::string name = label;
  std::array attributes{CK_ATTRIBUTE{CKA_TOKEN, &yes, sizeof yes},
                        CK_ATTRIBUTE{CKA_PRIVATE, &yes, sizeof yes},
                        CK_ATTRIBUTE{CKA_ENCRYPT, &yes, sizeof yes},
                        CK_ATTRIBUTE{CKA_DECRYPT, &yes, sizeof yes},
                        CK_ATTRIBUTE{CKA_VALUE_LEN, &bytes, sizeof bytes},
                        CK_ATTRIBUTE{CKA_LABEL, name.data(), name.size()}};
  CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
  CK_OBJECT_HANDLE key = 0;
  must((*module_)->C_GenerateKey(session, &mechanism, attributes.data(), attributes.size(), &key),
       "key");
  (*module_)->C_CloseSession(session);
}

void SoftHsm::destroy_key(const std::string& label) {
  const auto session = open();
  std::string name = label;
  CK_ATTRIBUTE wanted{CKA_LABEL, name.data(), name.size()};
  must((*module_)->C_FindObjectsInit(session, &wanted, 1), "find");
  CK_OBJECT_HANDLE key = 0;
  CK_ULONG count = 0;
  must((*module_)->C_FindObjects(session, &key, 1, &count), "find");
  (*module_)->C_FindObjectsFinal(session);
  if (count == 1) must((*module_)->C_DestroyObject(session, key), "destroy");
  (*module_)->C_CloseSession(session);
}

}  // namespace betrace::kms
