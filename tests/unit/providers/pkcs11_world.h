// The pkcs11 provider over a module whose answers are ordered; over real ones it is in the contract
// suite and the end-to-end tests.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include <dlfcn.h>
#include <gtest/gtest.h>

#include "support/modules/fake_pkcs11.h"
#include "unit/providers/provider_world.h"
#include "unit/providers/temporary_folder.h"

namespace betrace::kms {

// Each test has a copy of the module, which is a module of its own: what one process keeps of a
// module ends with the process.
struct Pkcs11Test : testing::Test {
  const TemporaryFolder folder;
  const std::string module = folder.file("module.so");
  FakePkcs11& hsm = *loaded_copy(module);
  ProviderWorld world;
  const CallContext call = CallContext::system("test");
  const EncryptionContext context{{"tenantId", "acme"}};

  Pkcs11Test() {
    world.settings = {{"pkcs11.module", module},
                      {"pkcs11.token-label", "fake"},
                      {"pkcs11.key-label", "master"},
                      {"pkcs11.pin", "right"}};
  }

  static FakePkcs11* loaded_copy(const std::string& path) {
    std::filesystem::copy_file(BETRACE_FAKE_PKCS11, path);
    auto* const library = ::dlopen(path.c_str(), RTLD_NOW);
    if (library == nullptr) throw std::runtime_error(::dlerror());
    const auto get = reinterpret_cast<void* (*)()>(::dlsym(library, "fake_pkcs11"));
    return static_cast<FakePkcs11*>(get());
  }

  // By the real clock, as the deadlines of in() are.
  Result<std::unique_ptr<Provider>> make() {
    const auto by_order = world.environment();
    return make_provider("pkcs11", {.settings = by_order.settings,
                                    .http = by_order.http,
                                    .clock = system_clock(),
                                    .environment = by_order.environment,
                                    .data_dir = by_order.data_dir});
  }
  std::unique_ptr<Provider> provider() { return make().value(); }
  std::string refusal() {
    const auto made = make();
    return made ? "accepted" : made.error().message;
  }
  Error trouble() {
    const auto described = provider()->describe_key(call);
    return described ? Error{.message = "none"} : described.error();
  }
  void until_called(const std::string& function, int times) {
    while (hsm.calls(function) < times) std::this_thread::yield();
  }
  // One that nobody gets round to in time does not come as far as the module.
  void ask_until_one_hangs(Provider& its) {
    const int before = hsm.calls("C_EncryptInit");
    hsm.hang("C_EncryptInit", true);
    while (hsm.calls("C_EncryptInit") == before) {
      const auto late = its.encrypt(in(std::chrono::milliseconds(20)), Bytes(32), context);
      EXPECT_EQ(late.error().code, ErrorCode::kms_timeout);
    }
  }
  static CallContext in(std::chrono::milliseconds time) {
    auto made = CallContext::system("test");
    made.deadline = std::chrono::steady_clock::now() + time;
    return made;
  }
};

}  // namespace betrace::kms
